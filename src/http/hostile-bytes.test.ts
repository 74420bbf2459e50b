import { afterEach, describe, expect, test } from 'vitest';
import type { Route } from '#http';
import { closeEdges, openEdge, openRaw, statusesIn, type EdgeOverrides } from '#test/edge-fixture';

afterEach(closeEdges);

/** What was handled, so that a test can say that something was not. */
const handled: string[] = [];
afterEach(() => {
  handled.length = 0;
});

const echo: Route = {
  method: 'POST',
  path: '/v1/echo',
  policy: { access: 'principal', kinds: ['key'], scope: 'talk' },
  summary: 'Answers the test.',
  handle: async (exchange) => {
    const body = await exchange.json();
    handled.push('echo');
    exchange.sendJson(200, { got: body ?? null });
  },
};
const named: Route = {
  method: 'GET',
  path: '/names/:name',
  policy: { access: 'public', why: 'the test wants to see the bare edge' },
  summary: 'Answers the test.',
  handle: async (exchange) => {
    handled.push(exchange.params.name ?? '');
    await new Promise((resolve) => {
      setTimeout(resolve, exchange.params.name === 'slow' ? 50 : 0);
    });
    exchange.sendJson(200, exchange.params.name);
  },
};
const routes = [echo, named];

const auth = 'Host: localhost\r\nAuthorization: Bearer key:acme:talk';
const json = `${auth}\r\nContent-Type: application/json`;

/** Says `bytes` and listens to the end. */
async function say(bytes: string | Uint8Array, overrides: EdgeOverrides = {}): Promise<string> {
  const { url } = await openEdge(routes, overrides);
  const client = openRaw(url);
  client.send(bytes);
  return await client.closed();
}

function post(body: string | Buffer, headers = json): Buffer {
  const bytes = Buffer.from(body);
  const head = `POST /v1/echo HTTP/1.1\r\n${headers}\r\nConnection: close\r\nContent-Length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), bytes]);
}

describe('what could be read in two ways is refused and reaches no handler', () => {
  test.each([
    ['two Host headers', 'GET /names/a HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n'],
    ['two equal Host headers', 'GET /names/a HTTP/1.1\r\nHost: localhost\r\nHOST: localhost\r\n\r\n'],
    ['no Host header', 'GET /names/a HTTP/1.1\r\nX: y\r\n\r\n'],
    ['two credentials', `GET /names/a HTTP/1.1\r\n${auth}\r\nAuthorization: Bearer key:other:talk\r\n\r\n`],
    ['an absolute target for another host', 'GET http://evil.example/names/a HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['an absolute target with a user', 'GET http://localhost@evil/names/a HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['another scheme', 'GET ftp://localhost/names/a HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    [
      'a length beside chunks',
      `POST /v1/echo HTTP/1.1\r\n${json}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['two lengths', `POST /v1/echo HTTP/1.1\r\n${json}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x`],
    ['a signed length', `POST /v1/echo HTTP/1.1\r\n${json}\r\nContent-Length: +2\r\n\r\n{}`],
    [
      'chunked that is not last',
      `POST /v1/echo HTTP/1.1\r\n${json}\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
    ],
    ['an unknown coding', `POST /v1/echo HTTP/1.1\r\n${json}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
    ['a space before the colon', 'GET /names/a HTTP/1.1\r\nHost: localhost\r\nContent-Length : 3\r\n\r\nabc'],
    ['a folded header', 'GET /names/a HTTP/1.1\r\nHost: localhost\r\n X: y\r\n\r\n'],
    ['a NUL in a header', 'GET /names/a HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n'],
    ['a bare CR', 'GET /names/a HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n'],
    ['another version', 'GET /names/a HTTP/3.7\r\nHost: localhost\r\n\r\n'],
    ['no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    [
      'a bad chunk size',
      `POST /v1/echo HTTP/1.1\r\n${json}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`,
    ],
  ])('%s', async (_name, bytes) => {
    const { url } = await openEdge(routes);
    const client = openRaw(url);
    client.send(bytes);
    const heard = await client.hears(/"code":"[a-z_]+"\}\}/);
    client.socket.destroy();
    expect(statusesIn(heard)).toEqual([400]);
    expect(heard).toContain('"type":"invalid_request_error"');
    expect(heard).toMatch(/x-request-id: req_/);
    expect(handled).toEqual([]);
  });

  test('CONNECT is refused', async () => {
    const heard = await say('CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n');
    expect(statusesIn(heard)).toEqual([405]);
  });

  test('an absolute target for our own host is served, as RFC 9112 demands', async () => {
    const heard = await say('GET http://localhost/names/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(statusesIn(heard)).toEqual([200]);
  });

  test('an upgrade that we do not speak is answered as the request it is', async () => {
    const heard = await say(
      'GET /names/a HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade, close\r\nUpgrade: h2c\r\n\r\n',
    );
    expect(statusesIn(heard)).toEqual([200]);
  });
});

describe('caps', () => {
  test('headers over the cap get 431', async () => {
    const heard = await say(`GET /names/a HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(statusesIn(heard)).toEqual([431]);
  });

  test('many small headers do not push a second Host out of sight', async () => {
    const many = Array.from({ length: 2500 }, () => 'a:').join('\r\n');
    const heard = await say(
      `GET /names/a HTTP/1.1\r\nHost: localhost\r\n${many}\r\nHost: evil\r\nConnection: close\r\n\r\n`,
    );
    expect(statusesIn(heard)).toEqual([400]);
  });

  test('a body over the cap is refused by its declared length, before it is read', async () => {
    const { url } = await openEdge(routes);
    const client = openRaw(url);
    client.send(`POST /v1/echo HTTP/1.1\r\n${json}\r\nContent-Length: 100001\r\n\r\n{"a":`);
    expect(statusesIn(await client.closed())).toEqual([413]);
  });

  test('a body over the cap is refused by its actual length where none is declared', async () => {
    const { url } = await openEdge(routes);
    const client = openRaw(url);
    client.send(`POST /v1/echo HTTP/1.1\r\n${json}\r\nTransfer-Encoding: chunked\r\n\r\n`);
    for (let sent = 0; sent <= 100_000; sent += 10_000) client.send(`2710\r\n${'x'.repeat(10_000)}\r\n`);
    expect(statusesIn(await client.closed())).toEqual([413]);
    expect(handled).toEqual([]);
  });

  test('a large body without a credential is refused while it is still being sent', async () => {
    const { url } = await openEdge(routes, { limits: { bodyBytes: 50_000_000 } });
    const client = openRaw(url);
    client.send('POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000000\r\n\r\n');
    client.send(Buffer.alloc(200_000, 0x20));
    await client.hears(/HTTP\/1\.1 401 /);
    for (let sent = 0; sent < 20; sent += 1) client.send(Buffer.alloc(200_000, 0x20));
    expect(statusesIn(await client.closed())).toEqual([401]);
  });

  test('connections over the cap are closed', async () => {
    const { url, log } = await openEdge(routes, { limits: { connections: 2 } });
    const kept = [openRaw(url), openRaw(url)];
    for (const client of kept) {
      client.send('GET /names/a HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await client.hears(/200 OK/);
    }
    expect(await openRaw(url).closed()).toBe('');
    expect(log).toContainEqual(expect.objectContaining({ msg: 'connection refused', reason: 'too_many' }));
    for (const client of kept) client.socket.destroy();
  });
});

describe('slow senders', () => {
  test('headers that do not come to their end are answered 408 and closed', async () => {
    const { url, log } = await openEdge(routes, { limits: { headersTimeoutMs: 300 } });
    const client = openRaw(url);
    client.send('GET /names/a HTTP/1.1\r\nHost: localhost\r\n');
    const drip = setInterval(() => client.send('X: y\r\n'), 50);
    const heard = await client.closed();
    clearInterval(drip);
    expect(statusesIn(heard)).toEqual([408]);
    expect(heard).toContain('"code":"request_timeout"');
    expect(log).toContainEqual(expect.objectContaining({ msg: 'connection refused', reason: 'slow' }));
  });

  test('a connection that never says a word is closed', async () => {
    const { url } = await openEdge(routes, { limits: { headersTimeoutMs: 300 } });
    expect(statusesIn(await openRaw(url).closed())).toEqual([408]);
  });

  test('a body that drips is answered 408 and closed', async () => {
    const { url } = await openEdge(routes, { limits: { bodyTimeoutMs: 300 } });
    const client = openRaw(url);
    client.send(`POST /v1/echo HTTP/1.1\r\n${json}\r\nContent-Length: 1000\r\n\r\n`);
    const drip = setInterval(() => client.send(' '), 50);
    const heard = await client.closed();
    clearInterval(drip);
    expect(statusesIn(heard)).toEqual([408]);
    expect(handled).toEqual([]);
  });

  test('a request cut into single bytes is served', async () => {
    const { url } = await openEdge(routes);
    const client = openRaw(url);
    client.socket.setNoDelay(true);
    for (const byte of post('{"a":"ü"}')) {
      client.send(Uint8Array.of(byte));
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    const heard = await client.closed();
    expect(statusesIn(heard)).toEqual([200]);
    expect(Buffer.from(heard, 'latin1').toString()).toContain('{"got":{"a":"ü"}}');
  });
});

describe('pipelining', () => {
  test('requests of one connection are answered in order, one at a time', async () => {
    const names = ['slow', 'b', 'slow', 'd', 'e'];
    const requests = names.map(
      (name, index) =>
        `GET /names/${name} HTTP/1.1\r\nHost: localhost\r\n${index === 4 ? 'Connection: close\r\n' : ''}\r\n`,
    );
    const heard = await say(requests.join(''));
    expect([...heard.matchAll(/^"(\w+)"/gm)].map(([, name]) => name)).toEqual(names);
    expect(handled).toEqual(names);
  });

  test('a body is never taken for the next request', async () => {
    const inner = 'GET /names/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const heard = await say(
      `GET /names/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${inner.length}\r\n\r\n${inner}GET /names/b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    expect(statusesIn(heard)).toEqual([200, 200]);
    expect(handled).toEqual(['a', 'b']);
  });

  test('a flood of pipelined requests is cut off', async () => {
    const { url, log } = await openEdge(routes);
    const client = openRaw(url);
    client.send('GET /names/slow HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(200));
    await client.closed();
    expect(handled.length).toBeLessThan(20);
    expect(log).toContainEqual(expect.objectContaining({ msg: 'connection refused', reason: 'bad_request' }));
  });
});

describe('Expect: 100-continue', () => {
  const expecting = (headers: string, length: number): string =>
    `POST /v1/echo HTTP/1.1\r\n${headers}\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`;

  test('is answered 401 without a credential, and no body is asked for', async () => {
    expect(statusesIn(await say(expecting('Host: localhost', 20)))).toEqual([401]);
  });

  test('is answered 413 where the declared length is over the cap, and no body is asked for', async () => {
    expect(statusesIn(await say(expecting(json, 100_001)))).toEqual([413]);
  });

  test('is answered 100 once the caller may send', async () => {
    const { url } = await openEdge(routes);
    const client = openRaw(url);
    client.send(expecting(json, 7));
    await client.hears(/100 Continue/);
    client.send('{"a":1}');
    expect(statusesIn(await client.hears(/\{"got":\{"a":1\}\}/))).toEqual([100, 200]);
    client.socket.destroy();
  });
});

describe('bodies', () => {
  test.each<[string, string | Buffer, number]>([
    ['no JSON', '{"a":', 400],
    ['a byte order mark', '\uFEFF{}', 400],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 400],
    ['arrays nested without end', '['.repeat(99_999), 400],
    ['objects nested without end', '{"a":'.repeat(19_000), 400],
    ['nesting one level over the cap', `${'['.repeat(33)}${']'.repeat(33)}`, 400],
    ['nesting at the cap', `${'['.repeat(32)}${']'.repeat(32)}`, 200],
    ['brackets within strings', JSON.stringify({ a: '[{'.repeat(500), b: '\\"[' }), 200],
    ['a key that is __proto__', '{"a":{"__proto__":{"admin":true}}}', 400],
    ['a key that is __proto__ in escapes', String.raw`{"\u005f_proto_\u005F":{"admin":true}}`, 400],
    ['__proto__ as a value', '{"a":"__proto__"}', 200],
    ['the empty body', '', 200],
  ])('%s gets what it should', async (_name, body, status) => {
    const heard = await say(post(body));
    expect(statusesIn(heard)).toEqual([status]);
    if (status === 400) expect(handled).toEqual([]);
  });

  test('the sentence of a refusal does not quote the body', async () => {
    expect(await say(post('{"password": secret-words}'))).not.toContain('secret');
  });

  test.each([
    ['another type', `${auth}\r\nContent-Type: text/plain`],
    ['no type', auth],
    ['compression', `${json}\r\nContent-Encoding: gzip`],
  ])('%s gets 415', async (_name, headers) => {
    expect(statusesIn(await say(post('{}', headers)))).toEqual([415]);
  });

  test.each(['application/json; charset=utf-8', 'application/merge-patch+json', 'APPLICATION/JSON'])(
    '%s is JSON',
    async (type) => {
      expect(statusesIn(await say(post('{}', `${auth}\r\nContent-Type: ${type}`)))).toEqual([200]);
    },
  );
});
