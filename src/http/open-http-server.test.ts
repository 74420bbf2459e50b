import { afterEach, describe, expect, test } from 'vitest';
import { UsherError } from '#base';
import { probeRoutes, type Exchange, type Route } from '#http';
import { asKey, closeEdges, openEdge, openRaw, statusesIn } from '#test/edge-fixture';

afterEach(closeEdges);

const talk: Route['policy'] = { access: 'principal', kinds: ['key', 'user'], scope: 'talk' };
const open: Route['policy'] = { access: 'public', why: 'the test wants to see the bare edge' };

function route(method: Route['method'], path: string, policy: Route['policy'], handle: Route['handle']): Route {
  return { method, path, policy, summary: 'Answers the test.', handle };
}

const echo = route('POST', '/v1/echo', talk, async (exchange) =>
  exchange.sendJson(200, { got: (await exchange.json()) ?? null }),
);
const thing = route('GET', '/v1/things/:thing', talk, async (exchange) => exchange.sendJson(200, exchange.params));
const named = route('GET', '/things/:thing', open, async (exchange) => exchange.sendJson(200, exchange.params));
const failing = route('GET', '/failing', open, async () => {
  throw new Error('the secret words');
});

async function errorOf(answer: Response): Promise<{ code: string; type: string; message: string }> {
  const { error } = (await answer.json()) as { error: { code: string; type: string; message: string } };
  return error;
}

describe('a route table that breaks its rules does not start', () => {
  const handle = async (): Promise<void> => undefined;
  test.each<[string, Route[], RegExp]>([
    ['twice the same', [route('GET', '/a', open, handle), route('GET', '/a', open, handle)], /registered twice/],
    ['the same under other names', [thing, route('GET', '/v1/things/:other', talk, handle)], /registered twice/],
    ['a parameter twice', [route('GET', '/x/:a/:a', open, handle)], /names a parameter twice/],
    ['a public one without a why', [route('GET', '/x', { access: 'public', why: '' }, handle)], /without saying why/],
    ['a public one on the API', [route('GET', '/v1/x', open, handle)], /needs a principal policy/],
    ['a guarded one elsewhere', [route('GET', '/x', talk, handle)], /outside/],
    [
      'users who manage',
      [route('GET', '/v1/x', { access: 'principal', kinds: ['user'], scope: 'manage' }, handle)],
      /users only ever talk/,
    ],
    [
      'nobody admitted',
      [route('GET', '/v1/x', { access: 'principal', kinds: [], scope: 'talk' }, handle)],
      /no kind of principal/,
    ],
    ['no plain path', [route('GET', '/x//y', open, handle)], /plain path/],
  ])('%s', async (_name, routes, problem) => {
    await expect(openEdge(routes)).rejects.toThrow(problem);
    await expect(openEdge(routes)).rejects.toMatchObject({ code: 'config_invalid' });
  });

  test('a port that is taken is told with the mend', async () => {
    const first = await openEdge([]);
    const port = Number(new URL(first.url).port);
    await expect(openEdge([], { listen: { port } })).rejects.toThrow(/another process has it; choose another port/);
  });
});

describe('routing', () => {
  test('unknown paths and methods get the OpenAI error object, and methods say which are allowed', async () => {
    const { url } = await openEdge([echo, named]);
    const missing = await fetch(`${url}/nowhere`);
    expect([missing.status, (await errorOf(missing)).code]).toEqual([404, 'not_found']);
    const wrong = await fetch(`${url}/v1/echo`, { method: 'DELETE' });
    expect([wrong.status, (await errorOf(wrong)).code]).toEqual([405, 'method_not_allowed']);
    expect(wrong.headers.get('allow')).toBe('OPTIONS, POST');
  });

  test('HEAD gives the headers of GET and no body; OPTIONS says the methods', async () => {
    const { url } = await openEdge([named]);
    const head = await fetch(`${url}/things/a`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '13', '']);
    const options = await fetch(`${url}/things/a`, { method: 'OPTIONS' });
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS']);
  });

  test('a fixed segment wins over a parameter, and a dead end goes back to it', async () => {
    const say = (word: string) => async (exchange: Exchange) => exchange.sendJson(200, [word, exchange.params]);
    const { url } = await openEdge([
      route('GET', '/a/fixed/x', open, say('fixed')),
      route('GET', '/a/:p/y', open, say('parameter')),
    ]);
    expect(await (await fetch(`${url}/a/fixed/x`)).json()).toEqual(['fixed', {}]);
    expect(await (await fetch(`${url}/a/fixed/y`)).json()).toEqual(['parameter', { p: 'fixed' }]);
  });

  test.each(['//things/a', '/things//a', '/things/../a', '/things/%2e%2e', '/things/.%2E/a', '/things/a%2fb'])(
    'the ambiguous path %s is refused',
    async (path) => {
      await expectRefusal(path);
    },
  );

  test.each(['/things/a%00', '/things/%zz', '/things/%ff', '/things/a%5cb', '/things/a#b', 'things/a'])(
    'the malformed path %s is refused',
    async (path) => {
      await expectRefusal(path);
    },
  );

  async function expectRefusal(path: string): Promise<void> {
    const { url, host } = await openEdge([named]);
    const client = openRaw(url);
    client.send(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    const heard = await client.closed();
    expect(statusesIn(heard)).toEqual([400]);
    expect(heard).toContain('"type":"invalid_request_error"');
  }

  test('percent-encoded parameters arrive decoded', async () => {
    const { url } = await openEdge([named]);
    expect(await (await fetch(`${url}/things/a%20%C3%BC`)).json()).toEqual({ thing: 'a ü' });
  });
});

describe('every answer', () => {
  test('carries a request id and the security headers, refusals too', async () => {
    const { url } = await openEdge([named, failing]);
    for (const path of ['/things/a', '/nowhere', '/failing', '/things/%00']) {
      const { headers } = await fetch(url + path);
      expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
      expect(headers.get('permissions-policy')).toContain('camera=()');
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('strict-transport-security')).toBeNull();
    }
  });

  test('asks for HTTPS ever after where it came over HTTPS', async () => {
    const { url } = await openEdge([named], { listen: { publicUrl: 'https://chat.example.org/' } });
    expect((await fetch(`${url}/things/a`)).headers.get('strict-transport-security')).toBe('max-age=31536000');
  });

  test('may replace a common header but not lose one', async () => {
    const own = route('GET', '/own', open, async (exchange) => {
      exchange.setHeader('Referrer-Policy', 'same-origin');
      exchange.setHeader('cache-control', 'max-age=60');
      exchange.send(200, 'text/plain', 'x');
    });
    const { headers } = await fetch(`${(await openEdge([own])).url}/own`);
    expect(headers.get('referrer-policy')).toBe('same-origin');
    expect(headers.get('cache-control')).toBe('max-age=60');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
  });
});

describe('a defect', () => {
  test('is told as a code and a request id, is in the log with its stack, and the process lives on', async () => {
    const { url, log } = await openEdge([failing, named]);
    const answer = await fetch(`${url}/failing`);
    const error = await errorOf(answer);
    const requestId = answer.headers.get('x-request-id') ?? '';
    expect([answer.status, error.code, error.type]).toEqual([500, 'internal', 'server_error']);
    expect(error.message).toContain(requestId);
    expect(answer.headers.get('x-should-retry')).toBe('false');
    expect(log).toContainEqual(expect.objectContaining({ msg: 'unexpected error', where: 'GET /failing', requestId }));
    expect(JSON.stringify([error, log])).not.toContain('the secret words');
    expect((await fetch(`${url}/things/a`)).status).toBe(200);
  });

  test.each<[string, Route['handle']]>([
    ['that answers nothing', async () => undefined],
    [
      'that asks for a principal on a public route',
      async (exchange) => exchange.sendJson(200, exchange.principal.kind),
    ],
  ])('a handler %s is a defect', async (_name, handle) => {
    const { url } = await openEdge([route('GET', '/x', open, handle)]);
    expect((await fetch(`${url}/x`)).status).toBe(500);
  });

  test('a handler that fails or stops within a stream cuts the connection, so that nobody takes it for whole', async () => {
    const failingStream = route('GET', '/failing-stream', open, async (exchange) => {
      await exchange.openStream().write('data: 1\n\n');
      throw new UsherError('backend_broken', 'The backend broke.');
    });
    const forgetful = route(
      'GET',
      '/forgetful',
      open,
      async (exchange) => void exchange.openStream().write('data: 1\n\n'),
    );
    const { url } = await openEdge([failingStream, forgetful]);
    await expect(fetch(`${url}/failing-stream`).then((answer) => answer.text())).rejects.toThrow();
    await expect(fetch(`${url}/forgetful`).then((answer) => answer.text())).rejects.toThrow();
  });
});

describe('who may', () => {
  const managed = route('GET', '/v1/managed', { access: 'principal', kinds: ['key'], scope: 'manage' }, async (e) =>
    e.sendJson(200, e.principal.kind),
  );
  test.each([
    ['nobody', undefined, 401],
    ['a key without the scope', 'Bearer key:acme:talk', 403],
    ['a user', 'Bearer user:acme:ann', 403],
    ['a key with the scope', 'Bearer key:acme:manage', 200],
  ])('%s', async (_name, authorization, status) => {
    const { url } = await openEdge([managed]);
    const answer = await fetch(`${url}/v1/managed`, { headers: authorization === undefined ? {} : { authorization } });
    expect(answer.status).toBe(status);
    expect(answer.headers.get('www-authenticate')).toBe(status === 401 ? 'Bearer realm="usher"' : null);
  });
});

describe('probes', () => {
  test('readiness follows the check, liveness does not', async () => {
    let isBroken = false;
    const check = async (): Promise<void> => {
      if (isBroken) throw new UsherError('storage_unavailable', 'The database is gone.');
    };
    const edge = await openProbes(check);
    expect((await fetch(`${edge.url}/readyz`)).status).toBe(200);
    isBroken = true;
    const late = await openProbes(check);
    expect((await fetch(`${late.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${late.url}/livez`)).status).toBe(200);
  });

  test('metrics are for the machine itself where no proxy is configured, else for keys that observe all tenants', async () => {
    const local = await openProbes(async () => undefined);
    expect((await fetch(`${local.url}/metrics`)).status).toBe(200);
    expect((await fetch(`${local.url}/metrics`, { headers: { 'x-forwarded-for': '10.1.1.1' } })).status).toBe(401);
    const proxied = await openProbes(async () => undefined, { publicUrl: 'https://chat.example.org' });
    const ask = async (authorization: string): Promise<number> =>
      (await fetch(`${proxied.url}/metrics`, { headers: { authorization } })).status;
    expect(await ask('')).toBe(401);
    expect(await ask('Bearer key:acme:talk')).toBe(403);
    expect(await ask('Bearer user:acme:ann')).toBe(403);
    expect(await ask('Bearer key:acme:talk,users,manage,operate')).toBe(403);
    expect(await ask('Bearer key:acme:observe')).toBe(200);
  });

  async function openProbes(check: () => Promise<void>, listen = {}) {
    const { telemetry } = await openEdge([]);
    return await openEdge(probeRoutes({ check, isDraining: () => false, isPrepared: () => true, telemetry }), {
      listen,
    });
  }
});

describe('CORS', () => {
  const cors = new Map([
    ['acme', ['https://acme.example']],
    ['other', ['https://other.example']],
  ]) as never;
  const asked = async (
    origin: string,
    init: { method?: string; headers?: Record<string, string> } = {},
    path = '/v1/echo',
  ) => {
    const { url } = await openEdge([echo, named, mint], { cors: () => cors });
    return await fetch(url + path, { method: 'POST', ...init, headers: { ...asKey, origin, ...init.headers } });
  };
  const mint = route('POST', '/mint', open, async (exchange) => exchange.sendJson(200, {}));
  const allowed = (answer: Response) => answer.headers.get('access-control-allow-origin');

  test('a preflight is answered for the origins of all tenants together, and no other', async () => {
    for (const origin of ['https://acme.example', 'https://other.example']) {
      const answer = await asked(origin, { method: 'OPTIONS' });
      expect([answer.status, allowed(answer)]).toEqual([204, origin]);
      expect(answer.headers.get('access-control-allow-headers')).toContain('authorization');
      expect(answer.headers.get('vary')).toBe('origin');
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
    }
    for (const origin of ['https://evil.example', 'null', 'https://acme.example.evil']) {
      const answer = await asked(origin, { method: 'OPTIONS' });
      expect(allowed(answer)).toBeNull();
      expect(answer.headers.get('access-control-allow-methods')).toBeNull();
    }
  });

  test("a page may use a key of its own tenant, not one of another's", async () => {
    const own = await asked('https://acme.example');
    expect([own.status, allowed(own)]).toEqual([200, 'https://acme.example']);
    const foreign = await asked('https://other.example');
    expect([foreign.status, allowed(foreign)]).toEqual([403, null]);
    expect((await asked('https://evil.example')).status).toBe(403);
    expect((await asked('null')).status).toBe(403);
  });

  test('a refusal can be read by the page that caused it', async () => {
    const answer = await asked('https://acme.example', { headers: { authorization: '' } });
    expect([answer.status, allowed(answer)]).toEqual([401, 'https://acme.example']);
  });

  test('our own pages need no configuration', async () => {
    const edge = await openEdge([echo]);
    const answer = await fetch(`${edge.url}/v1/echo`, { method: 'POST', headers: { ...asKey, origin: edge.url } });
    expect(answer.status).toBe(200);
  });

  test('a foreign page changes nothing without a credential, and reads nothing', async () => {
    expect((await asked('https://evil.example', {}, '/mint')).status).toBe(403);
    expect((await asked('https://acme.example', {}, '/mint')).status).toBe(200);
    const read = await asked('https://evil.example', { method: 'GET' }, '/things/a');
    expect([read.status, allowed(read)]).toEqual([200, null]);
  });
});

describe('the origin', () => {
  const where = route('GET', '/where', open, async (exchange) =>
    exchange.sendJson(200, { origin: exchange.origin, address: exchange.clientAddress }),
  );
  const ask = async (listen: object, headers: string): Promise<string> => {
    const { url } = await openEdge([where], { listen });
    const client = openRaw(url);
    client.send(`GET /where HTTP/1.1\r\n${headers}\r\nConnection: close\r\n\r\n`);
    return await client.closed();
  };

  test('comes from Host where nothing else is said', async () => {
    expect(await ask({}, 'Host: LOCALHOST:8080')).toContain('"origin":"http://localhost:8080"');
  });

  test('is the public URL where there is one', async () => {
    const heard = await ask({ publicUrl: 'https://chat.example.org/' }, 'Host: chat.example.org');
    expect(heard).toContain('"origin":"https://chat.example.org"');
  });

  test('believes X-Forwarded-* from trusted proxies alone, and there only the last word', async () => {
    const forwarded =
      'Host: localhost\r\nX-Forwarded-Proto: http, https\r\nX-Forwarded-Host: evil.example, chat.example.org\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2';
    expect(await ask({ trustedProxies: ['127.0.0.0/8'] }, forwarded)).toContain(
      '{"origin":"https://chat.example.org","address":"2.2.2.2"}',
    );
    expect(await ask({ trustedProxies: ['10.0.0.1'] }, forwarded)).toContain(
      '{"origin":"http://localhost","address":"127.0.0.1"}',
    );
  });

  test.each([
    ['2.2.2.2:50123', '2.2.2.2'],
    ['[2001:db8::1]:50123', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['2001:db8::1', '2001:db8::1'],
    ['unknown', '127.0.0.1'],
  ])('of a proxy that writes the caller as %s is %s', async (written, address) => {
    const forwarded = `Host: localhost\r\nX-Forwarded-For: 1.1.1.1, ${written}`;
    expect(await ask({ trustedProxies: ['127.0.0.0/8'] }, forwarded)).toContain(`"address":"${address}"`);
  });

  test.each(['Host: evil.example', 'Host: localhost.evil.example:80', 'Host: 127.0.0.1.nip.io'])(
    'a node on the loopback does not answer to %s, so that no page can rebind its name to it',
    async (headers) => {
      expect(statusesIn(await ask({}, headers))).toEqual([400]);
    },
  );

  test.each(['Host: a b', 'Host: a@localhost', 'Host: localhost/x', 'Host: [::1', 'Host:', 'X: y'])(
    'the malformed %s is refused',
    async (headers) => {
      expect(statusesIn(await ask({}, headers))).toEqual([400]);
    },
  );
});
