import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { SubjectId, TenantId } from '#access';
import { scriptedBackend } from '#test/scripted-backend';
import type { ToolCredential } from '../port.ts';
import { call, messageOf, north, toldRoom } from '../tool-room.fixture.ts';

const order = {
  kind: 'http',
  name: 'order_status',
  description: 'The state of an order.',
  parameters: {
    type: 'object',
    properties: {
      id: { type: 'string' },
      verbose: { type: 'boolean' },
      tags: { type: 'array', items: { type: 'string' } },
    },
    required: ['id'],
  },
} as const;

const secret = 'sesame-0123456789';

function credential(origin: string, changes: Partial<ToolCredential> = {}): ToolCredential {
  return {
    name: 'crm',
    secret,
    header: 'Authorization',
    scheme: 'Bearer',
    origins: [origin],
    tenants: [north],
    ...changes,
  };
}

function originOf(server: { readonly port: number }): string {
  return `http://127.0.0.1:${server.port}`;
}

describe('an HTTP tool', () => {
  test('puts arguments into path and query, and gives the answer to the model', async () => {
    await using server = await scriptedBackend(
      (_, response) => void response.setHeader('content-type', 'application/json').end('{"state":"sent"}'),
    );
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([
      { ...order, url: `${originOf(server)}/v1/orders/{id}`, headers: { 'X-Client': 'usher' } },
    ]);
    expect(set.tools).toMatchObject([
      { name: 'order_status', source: 'http', idempotent: false, confirm: false, timeoutMs: 10_000 },
    ]);
    expect(await call(set, 'order_status', { id: 'A 7?', verbose: true, tags: ['x', 'y&z'] })).toEqual({
      result: 'done',
      output: '{"state":"sent"}',
    });
    expect(server.requests[0]).toMatchObject({
      method: 'GET',
      path: '/v1/orders/A%207%3F?verbose=true&tags=x&tags=y%26z',
      headers: { 'idempotency-key': 'call-1', 'x-client': 'usher' },
    });
    expect(server.requests[0]!.headers['authorization']).toBeUndefined();
    expect(told.called).toMatchObject([
      { tenant: 'north', assistant: 'guide', source: 'http', tool: 'order_status', result: 'done' },
    ]);
  });

  test('sends the rest of the arguments of a POST as JSON, but for those that go into the query', async () => {
    await using server = await scriptedBackend((_, response) => void response.writeHead(204).end());
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([
      { ...order, method: 'POST', query: ['verbose'], url: `${originOf(server)}/orders/{id}/tags` },
    ]);
    expect(await call(set, 'order_status', { id: '7', verbose: false, tags: ['a'] })).toEqual({
      result: 'done',
      output: 'The call succeeded (status 204) and returned nothing.',
    });
    expect(server.requests[0]).toMatchObject({
      method: 'POST',
      path: '/orders/7/tags?verbose=false',
      body: { tags: ['a'] },
    });
  });

  test.each([
    ['{"id":7}', /id: .*"number" is invalid.*"string"/],
    ['{}', /required property "id"/],
    ['{"id":"7","other":1}', /other.* is not an argument/],
    ['[1]', /one JSON object/],
    ['{"id":', /not JSON/],
    [`{"id":"${'x'.repeat(70_000)}"}`, /exceed 65536/],
  ])('tells the model what is wrong with its arguments and sends nothing: %.30s', async (given, told_) => {
    await using server = await scriptedBackend((_, response) => void response.end());
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', given))).toMatch(told_);
    expect(server.requests).toHaveLength(0);
    expect(told.called[0]?.result).toBe('refused');
  });

  test('tells the model of an error status with what the server said', async () => {
    await using server = await scriptedBackend(
      (_, response) => void response.writeHead(404, { 'content-type': 'text/plain' }).end('no such order'),
    );
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toBe(
      "The tool's server answered with status 404: no such order",
    );
  });

  test('cuts a result that has no end, says so, and reads no further', async () => {
    await using server = await scriptedBackend(async (_, response) => {
      response.setHeader('content-type', 'text/plain');
      while (!response.destroyed) {
        response.write('ü'.repeat(8192));
        await delay(1);
      }
    });
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, resultBytesMax: 1001, url: `${originOf(server)}/orders/{id}` }]);
    expect(await call(set, 'order_status', { id: '7' })).toEqual({
      result: 'done',
      output: `${'ü'.repeat(500)}\n[The result is longer than 1001 bytes and was cut here.]`,
    });
    await expect.poll(() => server.requests[0]!.socket.destroyed).toBe(true);
  });

  test('gives up on a slow server after its time, and closes the connection', async () => {
    await using server = await scriptedBackend(() => undefined);
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, timeoutMs: 50, url: `${originOf(server)}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('longer than 50 ms');
    expect(told.called[0]?.result).toBe('timeout');
    await expect.poll(() => server.requests[0]!.socket.destroyed).toBe(true);
  });

  test('stops when it is aborted, before or in the middle of an answer', async () => {
    await using server = await scriptedBackend((_, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write('half');
    });
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }, {}, AbortSignal.abort()))).toContain('stopped');
    expect(server.requests).toHaveLength(0);
    const abort = new AbortController();
    const running = call(set, 'order_status', { id: '7' }, {}, abort.signal);
    await expect.poll(() => server.requests.length).toBe(1);
    abort.abort();
    expect(messageOf(await running)).toContain('stopped');
    await expect.poll(() => server.requests[0]!.socket.destroyed).toBe(true);
    expect(told.called.map(({ result }) => result)).toEqual(['aborted', 'aborted']);
  });

  test.each([
    ['an image', { 'content-type': 'image/png' }, 'image/png, which is no text'],
    ['a compressed text', { 'content-type': 'text/plain', 'content-encoding': 'gzip' }, 'compressed'],
  ])('refuses %s', async (_name, headers, said) => {
    await using server = await scriptedBackend((_, response) => void response.writeHead(200, headers).end('x'));
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain(said);
  });

  test('passes on JSON that is none and text that is not UTF-8 as text', async () => {
    await using server = await scriptedBackend(
      (_, response) => void response.setHeader('content-type', 'application/json').end(Buffer.from([0x7b, 0xff, 0x22])),
    );
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/orders/{id}` }]);
    expect(await call(set, 'order_status', { id: '7' })).toEqual({ result: 'done', output: '{\u{fffd}"' });
  });

  test('says of a server that cuts its answer, or is not there, what it is', async () => {
    await using server = await scriptedBackend(({ socket }, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half', () => socket.destroy());
    });
    const gone = await scriptedBackend(() => undefined);
    await gone[Symbol.asyncDispose]();
    await using told = toldRoom({ privateOrigins: [originOf(server), originOf(gone)] });
    const set = await told.tools([
      { ...order, url: `${originOf(server)}/orders/{id}` },
      { ...order, name: 'gone', url: `${originOf(gone)}/orders/{id}` },
    ]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('broke the connection');
    expect(messageOf(await call(set, 'gone', { id: '7' }))).toContain('does not answer');
    expect(told.unexpected).toEqual([]);
  });

  test('holds each person to the rate of each tool, and nobody else', async () => {
    await using server = await scriptedBackend((_, response) => void response.end('ok'));
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, ratePerMinute: 2, url: `${originOf(server)}/orders/{id}` }]);
    for (const result of ['done', 'done', 'failed'])
      expect(await call(set, 'order_status', { id: '7' })).toMatchObject({ result });
    expect(await call(set, 'order_status', { id: '7' }, { subject: 'bob' as SubjectId })).toMatchObject({
      result: 'done',
    });
    expect(await call(set, 'order_status', { id: '7' }, { tenant: 'south' as TenantId })).toMatchObject({
      result: 'done',
    });
    expect(server.requests).toHaveLength(4);
  });
});

describe('redirects', () => {
  test('of a GET are followed within the origin, three at most', async () => {
    await using server = await scriptedBackend(({ path }, response) => {
      const left = Number(path.split('/').at(-1));
      if (left === 0) response.end('arrived');
      else response.writeHead(302, { location: `/steps/${left - 1}` }).end();
    });
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/steps/{id}` }]);
    expect(await call(set, 'order_status', { id: '3' })).toEqual({ result: 'done', output: 'arrived' });
    expect(messageOf(await call(set, 'order_status', { id: '4' }))).toContain('more than 3 times');
  });

  test('to another origin and of a POST are not followed, and carry no credential away', async () => {
    await using other = await scriptedBackend((_, response) => void response.end('stolen'));
    await using server = await scriptedBackend(
      (_, response) => void response.writeHead(307, { location: `${originOf(other)}/` }).end(),
    );
    await using told = toldRoom({
      privateOrigins: [originOf(server), originOf(other)],
      credentials: [credential(originOf(server))],
    });
    const url = `${originOf(server)}/orders/{id}`;
    const service = { authorisation: 'service', credential: 'crm' };
    const set = await told.tools([
      { ...order, ...service, url },
      { ...order, ...service, name: 'post', method: 'POST', url },
    ]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('another site');
    expect(messageOf(await call(set, 'post', { id: '7' }))).toContain('GET alone');
    expect(other.requests).toHaveLength(0);
  });
});

describe('a credential', () => {
  test('goes to its own origin, and is taken out of what a server echoes', async () => {
    await using server = await scriptedBackend(({ headers }, response, nth) => {
      response
        .writeHead(nth === 0 ? 200 : 500, { 'content-type': 'text/plain' })
        .end(`you said ${headers['authorization']}`);
    });
    await using told = toldRoom({ privateOrigins: [originOf(server)], credentials: [credential(originOf(server))] });
    const set = await told.tools([
      { ...order, authorisation: 'service', credential: 'crm', url: `${originOf(server)}/{id}` },
    ]);
    expect(await call(set, 'order_status', { id: '7' })).toEqual({ result: 'done', output: 'you said Bearer •••' });
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('you said Bearer •••');
    expect(server.requests[0]!.headers['authorization']).toBe(`Bearer ${secret}`);
    expect(JSON.stringify([set, told.called])).not.toContain(secret);
  });

  test('is not cut in half by the end of what is kept', async () => {
    await using server = await scriptedBackend(
      (_, response) =>
        void response.setHeader('content-type', 'text/plain').end(`${'x'.repeat(250)}${secret}${'y'.repeat(500)}`),
    );
    await using told = toldRoom({ privateOrigins: [originOf(server)], credentials: [credential(originOf(server))] });
    const set = await told.tools([
      { ...order, authorisation: 'service', credential: 'crm', resultBytesMax: 256, url: `${originOf(server)}/{id}` },
    ]);
    expect(JSON.stringify(await call(set, 'order_status', { id: '7' }))).not.toContain('sesam');
  });

  test.each([
    ['for another origin', { origins: ['https://crm.example.com'] }, 'is not for http://127.0.0.1'],
    ['of another tenant', { tenants: ['south' as TenantId] }, 'is not there'],
    ['of another name', { name: 'erp' }, 'is not there'],
  ])('%s is not sent', async (_name, changes, said) => {
    await using server = await scriptedBackend((_, response) => void response.end());
    await using told = toldRoom({
      privateOrigins: [originOf(server)],
      credentials: [credential(originOf(server), changes)],
    });
    const set = await told.tools([
      { ...order, authorisation: 'service', credential: 'crm', url: `${originOf(server)}/{id}` },
    ]);
    const message = messageOf(await call(set, 'order_status', { id: '7' }));
    expect(message).toContain(said);
    expect(message).not.toContain(secret);
    expect(server.requests).toHaveLength(0);
  });

  test('is not sent over a public network without encryption', async () => {
    const origin = 'http://crm.example.com';
    await using told = toldRoom({ credentials: [credential(origin)] });
    const set = await told.tools([{ ...order, authorisation: 'service', credential: 'crm', url: `${origin}/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('without encryption');
  });

  test('of the person goes to a tool that declares it, to no other, and is never replaced by anything else', async () => {
    await using server = await scriptedBackend((_, response) => void response.end('ok'));
    await using told = toldRoom({ privateOrigins: [originOf(server)] });
    const url = `${originOf(server)}/{id}`;
    const set = await told.tools([
      { ...order, authorisation: 'user', url },
      { ...order, name: 'open', url },
    ]);
    await call(set, 'order_status', { id: '7' }, { userAuthorisation: 'ann-token' });
    await call(set, 'open', { id: '7' }, { userAuthorisation: 'ann-token' });
    expect(server.requests.map(({ headers }) => headers['authorization'])).toEqual(['Bearer ann-token', undefined]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('sign in');
    expect(messageOf(await call(set, 'order_status', { id: '7' }, { userAuthorisation: 'a\r\nx: y' }))).toContain(
      'not a bearer token',
    );
    expect(server.requests).toHaveLength(2);
  });
});

describe('an address that is not public', () => {
  test.each([
    '127.0.0.1',
    'localhost',
    '127.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '017700000001',
    '0',
    '0.0.0.0',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:7f00:0001]',
    '[64:ff9b::7f00:1]',
    '[::127.0.0.1]',
    '127.0.0.1.',
    '１２７.0.0.1',
    '127。0。0。1',
  ])('is not reached as %s', async (host) => {
    await using server = await scriptedBackend((_, response) => void response.end('inside'));
    await using told = toldRoom();
    const set = await told.tools([{ ...order, url: `http://${host}:${server.port}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toMatch(
      /not on the public internet|leads nowhere|cannot be looked up/,
    );
    expect(server.requests).toHaveLength(0);
  });

  test.each([
    '169.254.169.254',
    '10.0.0.1',
    '192.168.1.1',
    '[fe80::1]',
    '[fd00:ec2::254]',
    '[::ffff:169.254.169.254]',
    '100.100.100.200',
  ])('such as %s is not even tried', async (host) => {
    await using told = toldRoom();
    const set = await told.tools([{ ...order, url: `http://${host}/latest/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: 'meta-data' }))).toContain('not on the public internet');
  });

  test('is not opened by the name of another one that is', async () => {
    await using server = await scriptedBackend((_, response) => void response.end('inside'));
    await using told = toldRoom({
      privateOrigins: [`http://localhost:${server.port}`, `http://127.0.0.1:${server.port + 1}`],
    });
    const set = await told.tools([{ ...order, url: `${originOf(server)}/orders/{id}` }]);
    expect(messageOf(await call(set, 'order_status', { id: '7' }))).toContain('not on the public internet');
  });
});
