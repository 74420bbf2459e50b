import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { McpServer } from '@modelcontextprotocol/server';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { SubjectId } from '#access';
import { mcpTestServer } from '#test/mcp-server';
import { scriptedBackend, streamHead } from '#test/scripted-backend';
import type { ToolCredential } from '../port.ts';
import { call, messageOf, north, toldRoom } from '../tool-room.fixture.ts';

function register(server: McpServer): void {
  server.registerTool(
    'add',
    { description: 'Adds.', inputSchema: z.object({ a: z.number(), b: z.number() }) },
    ({ a, b }) => ({
      content: [{ type: 'text', text: String(a + b) }],
    }),
  );
  server.registerTool(
    'weather',
    { inputSchema: z.object({}), outputSchema: z.object({ degrees: z.number() }) },
    () => ({
      content: [],
      structuredContent: { degrees: 21 },
    }),
  );
  server.registerTool('fail', { inputSchema: z.object({}) }, () => ({
    isError: true,
    content: [{ type: 'text', text: 'the stock is empty' }],
  }));
  server.registerTool('picture', { inputSchema: z.object({}) }, () => ({
    content: [{ type: 'image', data: 'AAAA', mimeType: 'image/png' }],
  }));
  server.registerTool('huge', { inputSchema: z.object({}) }, () => ({
    content: [{ type: 'text', text: 'x'.repeat(1_000_000) }],
  }));
  server.registerTool('endless', { inputSchema: z.object({}) }, () => ({
    content: [{ type: 'text', text: 'x'.repeat(6_000_000) }],
  }));
  server.registerTool('slow', { inputSchema: z.object({}) }, async () => {
    await delay(60_000, undefined, { ref: false });
    return { content: [] };
  });
  server.registerTool('hidden', { inputSchema: z.object({}) }, () => ({ content: [{ type: 'text', text: 'never' }] }));
}

const names = ['add', 'weather', 'fail', 'picture', 'huge', 'endless', { name: 'slow', timeoutMs: 300, confirm: true }];

function crmFor(origin: string): ToolCredential {
  return {
    name: 'crm',
    secret: 'service-secret',
    header: 'Authorization',
    scheme: 'Bearer',
    origins: [origin],
    tenants: [north],
  };
}

function source(url: string, changes: object = {}): object {
  return { kind: 'mcp', label: 'shop', url, tools: names, ...changes };
}

describe.each([
  ['with sessions', true],
  ['of the newest revision, without sessions', false],
])('a server %s', (_name, sessions) => {
  test('offers the tools that are declared and no other, as it describes them', async () => {
    await using server = await mcpTestServer(register, { sessions });
    await using told = toldRoom({ privateOrigins: [server.origin] });
    const { tools } = await told.tools([source(server.url)]);
    expect(tools.map(({ name }) => name)).toEqual(
      ['add', 'weather', 'fail', 'picture', 'huge', 'endless', 'slow'].map((name) => `shop_${name}`),
    );
    expect(tools[0]).toMatchObject({
      source: 'shop',
      description: 'Adds.',
      confirm: false,
      parameters: { required: ['a', 'b'] },
    });
    expect(tools.at(-1)).toMatchObject({ confirm: true, timeoutMs: 300 });
    expect(told.missing).toEqual([]);
  });

  test('answers calls; its errors, pictures and long texts are told for what they are', async () => {
    await using server = await mcpTestServer(register, { sessions });
    await using told = toldRoom({ privateOrigins: [server.origin] });
    const set = await told.tools([source(server.url)]);
    expect(await call(set, 'shop_add', { a: 2, b: 3 })).toEqual({ result: 'done', output: '5' });
    expect(await call(set, 'shop_weather')).toEqual({ result: 'done', output: '{"degrees":21}' });
    expect(await call(set, 'shop_picture')).toEqual({ result: 'done', output: '[image, left out]' });
    expect(messageOf(await call(set, 'shop_fail'))).toBe('the stock is empty');
    expect(messageOf(await call(set, 'shop_add', { a: 'two', b: 3 }))).toMatch(/a: .*"string" is invalid/);
    const huge = await call(set, 'shop_huge');
    expect(huge.result === 'done' && huge.output.length).toBeLessThan(66_000);
    expect(messageOf(await call(set, 'shop_endless'))).toContain('without an end');
    expect(messageOf(await call(set, 'shop_hidden'))).toContain('There is no tool');
    expect(
      server.requests.filter(({ method }) => method === 'tools/call').map(({ headers }) => headers['idempotency-key']),
    ).toContain('call-1');
    expect(told.unexpected).toEqual([]);
  });

  test('that is slow is given up after the time, and its connection is cut', async () => {
    await using server = await mcpTestServer(register, { sessions });
    await using told = toldRoom({ privateOrigins: [server.origin] });
    const set = await told.tools([source(server.url)]);
    expect(messageOf(await call(set, 'shop_slow'))).toContain('longer than 300 ms');
    await expect.poll(() => server.cut()).toBe(1);
    const abort = new AbortController();
    const running = call(set, 'shop_slow', {}, {}, abort.signal);
    await expect.poll(() => server.requests.filter(({ method }) => method === 'tools/call').length).toBe(2);
    abort.abort();
    expect(messageOf(await running)).toContain('stopped');
    await expect.poll(() => server.cut()).toBe(2);
    expect(await call(set, 'shop_add', { a: 1, b: 1 })).toEqual({ result: 'done', output: '2' });
    expect(told.unexpected).toEqual([]);
  });

  test('is listed once for a release, however many ask', async () => {
    await using server = await mcpTestServer(register, { sessions });
    await using told = toldRoom({ privateOrigins: [server.origin] });
    await Promise.all(Array.from({ length: 5 }, () => told.tools([source(server.url)])));
    await told.tools([source(server.url)]);
    expect(server.requests.filter(({ method }) => method === 'tools/list')).toHaveLength(1);
  });
});

test('an answer that breaks off is told at once', async () => {
  await using server = await mcpTestServer(register, { sessions: true });
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(server.url, { tools: [{ name: 'slow', timeoutMs: 60_000 }] })]);
  const running = call(set, 'shop_slow');
  await expect.poll(() => server.requests.filter(({ method }) => method === 'tools/call').length).toBe(1);
  server.cutAll();
  expect(messageOf(await running)).toContain('broke the connection');
});

test('a session that the server has forgotten is opened anew, and the call made once', async () => {
  let calls = 0;
  await using server = await mcpTestServer(
    (made) => {
      made.registerTool('add', { inputSchema: z.object({}) }, () => {
        calls += 1;
        return { content: [{ type: 'text', text: 'ok' }] };
      });
    },
    { sessions: true },
  );
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(server.url, { tools: ['add'] })]);
  expect(await call(set, 'shop_add')).toMatchObject({ result: 'done' });
  server.forget();
  expect(await call(set, 'shop_add')).toMatchObject({ result: 'done' });
  expect(calls).toBe(2);
});

test('two people never share a session, and one person keeps theirs', async () => {
  await using server = await mcpTestServer(register, { sessions: true });
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(server.url)]);
  for (const subject of ['ann', 'bob', 'ann'] as SubjectId[]) await call(set, 'shop_weather', {}, { subject });
  const [ann, bob, again] = server.requests
    .filter(({ method }) => method === 'tools/call')
    .map(({ headers }) => headers['mcp-session-id']);
  expect(ann).toBeTypeOf('string');
  expect(bob).not.toBe(ann);
  expect(again).toBe(ann);
});

test("the person's own authorisation is sent with their calls, and the credential with the listing alone", async () => {
  await using server = await mcpTestServer(register, {
    sessions: true,
    gate: ({ authorization }) => (authorization === undefined ? 401 : undefined),
  });
  await using told = toldRoom({ privateOrigins: [server.origin], credentials: [crmFor(server.origin)] });
  const set = await told.tools([source(server.url, { authorisation: 'user', credential: 'crm' })]);
  expect(messageOf(await call(set, 'shop_weather'))).toContain('sign in');
  expect(await call(set, 'shop_weather', {}, { userAuthorisation: 'ann-token' })).toMatchObject({ result: 'done' });
  const sent = server.requests
    .filter(({ method }) => method !== undefined)
    .map(({ method, headers }) => `${method} ${headers['authorization']}`);
  expect(sent).toContain('tools/list Bearer service-secret');
  expect(sent).toContain('tools/call Bearer ann-token');
  expect(sent).not.toContain('tools/call Bearer service-secret');
});

test.each([
  ['is not there', undefined, /does not answer/],
  ['wants an authorisation', 401, /status 401, so it did not accept/],
  ['breaks', 500, /status 500/],
])('the tools of a server that %s are left out, and the owner is told why', async (_name, status, said) => {
  const server = await mcpTestServer(register, { sessions: true, gate: () => status });
  if (status === undefined) await server[Symbol.asyncDispose]();
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const http = { kind: 'http', name: 'time', description: 'The time.', url: 'https://api.example.com/time' };
  const set = await told.tools([source(server.url), http]);
  expect(set.tools.map(({ name }) => name)).toEqual(['time']);
  expect(told.missing.join('\n')).toMatch(said);
  expect(told.missing).toHaveLength(1);
  await told.tools([source(server.url), http]);
  expect(told.missing).toHaveLength(1);
  expect(told.unexpected).toEqual([]);
  if (status !== undefined) await server[Symbol.asyncDispose]();
});

/** A server that pings back so often before it answers requests of this method; `answered` holds the sockets it was answered on. */
async function pingingServer(pingingMethod: string, pings: number) {
  const answered: unknown[] = [];
  const event = (message: object): string => `data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`;
  const results: Readonly<Record<string, object>> = {
    initialize: {
      protocolVersion: '2025-06-18',
      capabilities: { tools: {} },
      serverInfo: { name: 'pinging', version: '1' },
    },
    'tools/list': { tools: [{ name: 'add', inputSchema: { type: 'object' } }] },
    'tools/call': { content: [{ type: 'text', text: 'ok' }] },
  };
  const server = await scriptedBackend(({ body, socket }, response) => {
    const { id, method } = (body ?? {}) as { id?: number; method?: string };
    if (id !== undefined && method === undefined) answered.push(socket);
    const result = results[method ?? ''];
    if (result === undefined)
      return void response.writeHead(id === undefined || method === undefined ? 202 : 404).end();
    streamHead(response);
    const asked = Array.from({ length: pings }, (_, nth) => event({ id: `ping-${nth}`, method: 'ping' }));
    if (method === pingingMethod) response.write(asked.join(''));
    return void setTimeout(() => response.end(event({ id, result })), 100);
  });
  return Object.assign(server, { origin: `http://127.0.0.1:${server.port}`, answered });
}

test('a server that asks back while it works is answered', async () => {
  await using server = await pingingServer('tools/call', 5);
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(`${server.origin}/mcp`, { tools: ['add'] })]);
  expect(await call(set, 'shop_add')).toEqual({ result: 'done', output: 'ok' });
  await expect.poll(() => server.answered.length).toBe(5);
});

test.each(['initialize', 'tools/list', 'tools/call'])(
  'a server that asks back without an end is heard no longer: in its answer to %s',
  async (method) => {
    await using server = await pingingServer(method, 5000);
    await using told = toldRoom({ privateOrigins: [server.origin] });
    const set = await told.tools([source(`${server.origin}/mcp`, { tools: ['add'] })]);
    const said = method === 'tools/call' ? messageOf(await call(set, 'shop_add')) : told.missing.join();
    expect(said).toContain('asked back more than 64 times');
    expect(new Set(server.answered).size).toBeLessThanOrEqual(64);
    expect(told.unexpected).toEqual([]);
  },
);

const plainResults: Readonly<Record<string, object>> = {
  initialize: { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'a', version: '1' } },
  'tools/list': { tools: [{ name: 'add', inputSchema: { type: 'object' } }] },
  'tools/call': { content: [{ type: 'text', text: 'ok' }] },
};

/** A server with a session that answers as `answer` says; where that answers nothing, as it should. */
async function plainServer(
  answer: (verb: string, method: string | undefined, response: ServerResponse, result: string) => boolean,
) {
  const server = await scriptedBackend(({ method: verb, body }, response) => {
    const { id, method } = (body ?? {}) as { id?: number; method?: string };
    const result = plainResults[method ?? ''];
    const text = JSON.stringify({ jsonrpc: '2.0', id, result });
    if (answer(verb, method, response, text)) return;
    if (result === undefined) return void response.writeHead(id === undefined ? 202 : 404).end();
    response.setHeader('content-type', 'application/json').setHeader('mcp-session-id', 'one').end(text);
  });
  return Object.assign(server, { origin: `http://127.0.0.1:${server.port}` });
}

test('a server that breaks off its word on the end of a session disturbs neither the listing nor the closing', async () => {
  await using server = await plainServer((verb, _, response) => {
    if (verb !== 'DELETE') return false;
    response.writeHead(200, { 'content-length': '100' }).write('bye');
    setTimeout(() => response.destroy(), 50);
    return true;
  });
  const told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(`${server.origin}/mcp`, { tools: ['add'] })]);
  expect(await call(set, 'shop_add')).toEqual({ result: 'done', output: 'ok' });
  await expect(told.room.close()).resolves.toBeUndefined();
  expect(server.requests.filter(({ method }) => method === 'DELETE')).toHaveLength(2);
});

test('a server that breaks off its answer again and again is asked for the rest so often, and never after the call', async () => {
  let broken = 0;
  await using server = await plainServer((verb, method, response) => {
    if (verb !== 'GET' && method !== 'tools/call') return false;
    broken += 1;
    streamHead(response);
    response.end(`id: ${broken}\nretry: 0\ndata: \n\n`);
    return true;
  });
  await using told = toldRoom({ privateOrigins: [server.origin] });
  for (const [timeoutMs, said] of [
    [100, /longer than 100 ms|more than 64 times/],
    [60_000, /broke off its answer more than 64 times/],
  ] as const) {
    const set = await told.tools([source(`${server.origin}/mcp`, { tools: [{ name: 'add', timeoutMs }] })]);
    expect(messageOf(await call(set, 'shop_add'))).toMatch(said);
    const asked = broken;
    await delay(200);
    // One may have been on its way.
    expect(broken).toBeLessThanOrEqual(asked + 1);
  }
});

test('a server that leaves its answer open loses the connection once the call is over', async () => {
  let open = 0;
  await using server = await plainServer((_, method, response, result) => {
    if (method !== 'tools/call') return false;
    open += 1;
    response.on('close', () => (open -= 1));
    streamHead(response);
    response.write(`data: ${result}\n\n`);
    return true;
  });
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(`${server.origin}/mcp`, { tools: [{ name: 'add', ratePerMinute: 600 }] })]);
  // More than the connections to one origin.
  for (let calls = 0; calls < 140; calls += 1) {
    expect(await call(set, 'shop_add')).toEqual({ result: 'done', output: 'ok' });
  }
  await expect.poll(() => open).toBe(0);
  expect(told.unexpected).toEqual([]);
});

test('a tool that the server does not have is told by its name', async () => {
  await using server = await mcpTestServer(register, { sessions: false });
  await using told = toldRoom({ privateOrigins: [server.origin] });
  const set = await told.tools([source(server.url, { tools: ['add', 'subtract'] })]);
  expect(set.tools).toHaveLength(1);
  expect(told.missing.join()).toContain('has no tool "subtract"');
});

test('a server that echoes the credential in its refusal to list does not put it into what is told', async () => {
  await using server = await scriptedBackend(({ body, headers }, response) => {
    const { id, method } = body as { id?: number; method?: string };
    const message = `unknown key: ${headers['authorization']}`;
    const info = {
      protocolVersion: '2025-06-18',
      capabilities: { tools: {} },
      serverInfo: { name: 'a', version: '1' },
    };
    const said = method === 'initialize' ? { result: info } : { error: { code: -32_000, message } };
    if (id === undefined) response.writeHead(202).end();
    else response.setHeader('content-type', 'application/json').end(JSON.stringify({ jsonrpc: '2.0', id, ...said }));
  });
  const origin = `http://127.0.0.1:${server.port}`;
  await using told = toldRoom({ privateOrigins: [origin], credentials: [crmFor(origin)] });
  const declared = source(`${origin}/mcp`, { authorisation: 'service', credential: 'crm' });
  expect((await told.tools([declared])).tools).toEqual([]);
  expect(server.requests.map(({ body }) => (body as { method?: string }).method)).toContain('tools/list');
  expect(told.missing.join()).toMatch(/refused the call: unknown key: Bearer •••/);
});

test('a server that answers garbage, HTML or a redirect is told as one that does not speak the protocol', async () => {
  await using other = await scriptedBackend((_, response) => void response.end('{}'));
  await using server = await scriptedBackend(({ path }, response) => {
    if (path === '/html') response.setHeader('content-type', 'text/html').end('<p>hello</p>');
    else if (path === '/garbage') response.setHeader('content-type', 'application/json').end('{"jsonrpc":');
    else response.writeHead(307, { location: `http://127.0.0.1:${other.port}/mcp` }).end();
  });
  const origin = `http://127.0.0.1:${server.port}`;
  await using told = toldRoom({ privateOrigins: [origin, `http://127.0.0.1:${other.port}`] });
  for (const path of ['html', 'garbage', 'redirect'])
    expect((await told.tools([source(`${origin}/${path}`)])).tools).toEqual([]);
  expect(told.missing).toHaveLength(3);
  expect(other.requests).toHaveLength(0);
  expect(told.unexpected).toEqual([]);
});

test('a server on this machine is not reached unless the owner allows it', async () => {
  await using server = await mcpTestServer(register, { sessions: true });
  await using told = toldRoom();
  expect((await told.tools([source(server.url)])).tools).toEqual([]);
  expect(told.missing.join()).toContain('tools.privateOrigins');
  expect(server.requests).toHaveLength(0);
});
