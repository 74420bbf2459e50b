import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { roles } from '#cluster';
import type { Route } from '#http';
import { serverRoutes, type RouteParts } from '#main';
import { startUsher, type UsherProcess } from '#test/process';
import { swapEveryId, type Carrier, type Party } from '#test/two-tenant-swap';
import { usherFiles } from '#test/usher-files';
import { fuzzBytes } from './fuzz-bytes.ts';
import { fuzzRoutes } from './fuzz-routes.ts';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const assistant = 'guide';
/** The table alone is read here: it is the process that handles. A route that is added is covered by itself. */
const routes: readonly Route[] = serverRoutes({
  rooms: { roles: new Set(roles) },
  tokens: {},
  probes: {},
} as unknown as RouteParts);

type Headers = Readonly<Record<string, string>>;

let usher: UsherProcess;
let acme: Party;
let other: Party;
let ann: Party;
let bob: Party;

beforeAll(async () => {
  const seats = { spec: { handover: {} }, knowledge: { 'a.md': '# Seats\n\nRow one.' } };
  const { files } = usherFiles([], { assistants: { [assistant]: seats, porter: seats } });
  const assistants = [assistant, 'porter'].map((name) => ({ name, folder: `./${name}` }));
  const limits = { requestsPerMinute: 10_000_000, concurrency: 1000 };
  const config = {
    backends: [{ name: 'knowledge', kind: 'knowledge' }],
    tenants: ['acme', 'other'].map((id) => ({ id, assistants, limits })),
  };
  usher = await startUsher({ config: JSON.stringify(config), files });
  const keys = { acme: await keyOf('acme'), other: await keyOf('other') };
  acme = await party('acme', 'acme', null, keys.acme);
  other = await party('other', 'other', null, keys.other);
  const { handover = '', record = '' } = acme.ids;
  ann = await party('ann of acme', 'acme', 'ann', await tokenOf('ann', keys.acme), { handover, record });
  bob = await party('bob of acme', 'acme', 'bob', await tokenOf('bob', keys.acme), { handover, record });
});

afterAll(async () => {
  await usher?.stop();
});

/** Made by the command line while the server runs. */
async function keyOf(tenant: string): Promise<Headers> {
  const where = ['--config', join(usher.home, 'usher.yaml'), '--data', usher.dataDir];
  const create = [
    launcher,
    'keys',
    'create',
    '--tenant',
    tenant,
    '--scope',
    'talk',
    'users',
    'manage',
    'operate',
    '--json',
    ...where,
  ];
  const { stdout } = await promisify(execFile)(process.execPath, create);
  const { key } = JSON.parse(stdout) as { key: string };
  return { authorization: `Bearer ${key}` };
}

async function tokenOf(subject: string, key: Headers): Promise<Headers> {
  const { token } = await make<{ token: string }>(key, '/v1/user_tokens', { assistant, subject });
  return { authorization: `Bearer ${token}` };
}

async function make<T = { id: string }>(headers: Headers, path: string, body: object): Promise<T> {
  const answer = await call(headers, 'POST', path, body);
  expect(answer.status).toBe(200);
  return (await answer.json()) as T;
}

function call(headers: Headers, method: string, path: string, body?: object): Promise<Response> {
  const json = body && { body: JSON.stringify(body), headers: { ...headers, 'content-type': 'application/json' } };
  return fetch(usher.url + path, { method, headers, ...json });
}

const said = { type: 'message', role: 'user', content: 'Where is my seat?' };

/** Somebody with one thing of each kind: a conversation with an item in it, and a response of their own in it. */
async function party(
  name: string,
  tenant: string,
  subject: string | null,
  headers: Headers,
  known?: { readonly handover: string; readonly record: string },
): Promise<Party> {
  const { id: conversation } = await make(headers, '/v1/conversations', {});
  const path = `/v1/conversations/${conversation}/items`;
  const items = await make<{ data: { id: string }[] }>(headers, path, { items: [said] });
  const response = await make(headers, '/v1/responses', { model: assistant, input: 'Row one?', conversation });
  const chat = { model: assistant, messages: [{ role: 'user', content: 'Row one?' }], store: true };
  const completion = await make(headers, '/v1/chat/completions', chat);
  const firstOf = async (list: string): Promise<string> => {
    const { data } = (await (await call(headers, 'GET', `/v1/${list}`)).json()) as { data: { id: string }[] };
    return data[0]!.id;
  };
  const address = tenant === 'acme' ? assistant : `${assistant}~${tenant}`;
  const { handover, record } = known ?? { handover: await handedOver(headers), record: await recorded(headers) };
  const ids = {
    conversation,
    item: items.data[0]?.id ?? '',
    response: response.id,
    input: await firstOf(`responses/${response.id}/input_items`),
    completion: completion.id,
    message: await firstOf(`chat/completions/${completion.id}/messages`),
    assistant: address,
    handover,
    record,
  };
  return { name, tenant, subject, headers, ids };
}

/** A conversation of its own that an operator took: persons reach no handover at all, and no audit trail. */
async function handedOver(headers: Headers): Promise<string> {
  const { id: conversation } = await make(headers, '/v1/conversations', {});
  await make(headers, '/v1/responses', { model: assistant, input: 'Row two?', conversation });
  return (await make(headers, '/admin/handovers', { conversation })).id;
}

async function recorded(headers: Headers): Promise<string> {
  const { records } = (await (await call(headers, 'GET', '/admin/audit')).json()) as { records: { id: string }[] };
  return records[0]?.id ?? '';
}

/** Ids that travel elsewhere than in the path. */
const carriers: Carrier[] = [
  ...[false, true].flatMap((stream): Carrier[] => {
    const turn = { model: assistant, input: 'Go on.', stream };
    const to = { method: 'POST', path: '/v1/responses' };
    return [
      { ...to, carries: ['conversation'], body: ({ conversation }) => ({ ...turn, conversation }) },
      { ...to, carries: ['conversation'], body: ({ conversation: id }) => ({ ...turn, conversation: { id } }) },
      { ...to, carries: ['response'], body: ({ response }) => ({ ...turn, previous_response_id: response }) },
      {
        ...to,
        carries: ['item'],
        body: ({ item }) => ({ ...turn, input: [{ type: 'item_reference', id: item }, said] }),
      },
    ];
  }),
  ...['', '/input_tokens', '/compact'].flatMap((rest): Carrier[] => {
    const turn = { model: assistant, input: 'Go on.', background: rest === '' };
    const to = { method: 'POST', path: `/v1/responses${rest}` };
    const following: Carrier[] = [
      { ...to, carries: ['response'], body: ({ response }) => ({ ...turn, previous_response_id: response }) },
      {
        ...to,
        carries: ['item'],
        body: ({ item }) => ({ ...turn, input: [{ type: 'item_reference', id: item }, said] }),
      },
    ];
    const within: Carrier = {
      ...to,
      carries: ['conversation'],
      body: ({ conversation }) => ({ ...turn, conversation }),
    };
    return rest === '/compact' ? following : following.concat(within);
  }),
  ...['/v1/conversations', '/v1/conversations/:conversation/items'].map((path): Carrier => ({
    method: 'POST',
    path,
    carries: ['item'],
    body: ({ item }) => ({ items: [{ type: 'item_reference', id: item }] }),
  })),
  {
    method: 'POST',
    path: '/v1/ui/chat',
    carries: ['conversation'],
    body: ({ conversation }) => ({
      id: conversation,
      model: assistant,
      messages: [{ role: 'user', parts: [{ type: 'text', text: 'Go on.' }] }],
    }),
  },
  {
    method: 'POST',
    path: '/admin/handovers',
    carries: ['conversation'],
    body: ({ conversation }) => ({ conversation }),
  },
  {
    method: 'POST',
    path: '/chat/:assistant/feedback',
    carries: ['response'],
    body: ({ response }) => ({ response, rating: 'down', comment: 'Not mine.' }),
  },
  {
    method: 'GET',
    path: '/admin/handovers?after=:handover',
    carries: [],
    body: () => undefined,
    answersAny: true,
  },
  {
    method: 'GET',
    path: '/admin/audit?after=:record',
    carries: [],
    body: () => undefined,
    answersAny: true,
  },
  ...[
    'conversations/:conversation/items?after=:item',
    'responses/:response/input_items?after=:input',
    'chat/completions/:completion/messages?after=:message',
    'chat/completions?after=:completion',
  ].map((path): Carrier => ({
    method: 'GET',
    path: `/v1/${path}`,
    carries: [],
    body: () => undefined,
    answersAny: true,
  })),
  {
    method: 'GET',
    path: '/chat/:assistant/conversations?after=:conversation',
    carries: [],
    body: () => undefined,
    answersAny: true,
  },
];

describe('the real server', () => {
  test('gives nobody anything of another tenant or person, by whatever id, in path, query or body', async () => {
    const report = await swapEveryId({
      url: usher.url,
      routes,
      parties: [acme, other, ann, bob],
      publicParameters: ['model', 'assistant', 'digest', 'file'],
      bodies: {
        'POST /v1/conversations/:conversation': { metadata: { a: 'b' } },
        'POST /v1/chat/completions/:completion': { metadata: { a: 'b' } },
        'POST /v1/conversations/:conversation/items': { items: [said] },
        'POST /admin/handovers/:handover/answers': { text: 'Row two.' },
      },
      carriers,
    });
    expect(report.problems).toEqual([]);
    expect(report.swaps).toBeGreaterThan(200);
  });

  test('what was swapped is still whole: nothing was added, rated or changed by a stranger, and its owner may go on', async () => {
    for (const { headers, ids } of [acme, other, ann, bob]) {
      const list = await call(headers, 'GET', `/v1/conversations/${ids.conversation}/items?order=asc`);
      const { data } = (await list.json()) as { data: { role: string }[] };
      expect(data.map(({ role }) => role)).toEqual(['user', 'user', 'assistant']);
      const one = await call(headers, 'GET', `/v1/conversations/${ids.conversation}`);
      expect(await one.json()).toMatchObject({ metadata: {} });
    }
    for (const { headers, ids } of [ann, bob]) {
      const page = await call(headers, 'GET', `/chat/${ids.assistant}/conversations/${ids.conversation}`);
      expect(await page.json()).toMatchObject({ responses: [{ id: ids.response, feedback: null }] });
    }
    for (const { headers, ids, subject } of [acme, other, ann, bob]) {
      const turn = { model: assistant, input: 'Go on.' };
      await make(headers, '/v1/responses', { ...turn, conversation: ids['conversation'] });
      await make(headers, '/v1/responses', { ...turn, previous_response_id: ids['response'] });
      if (subject !== null)
        await make(headers, `/chat/${ids['assistant']}/feedback`, { response: ids['response'], rating: 'up' });
    }
  });

  test('an item is found in its own conversation alone, also by its owner', async () => {
    for (const { headers, ids } of [acme, ann]) {
      const { id: second } = await make(headers, '/v1/conversations', {});
      const path = `/v1/conversations/${second}/items/${ids.item}`;
      expect((await call(headers, 'GET', path)).status).toBe(404);
      expect((await call(headers, 'DELETE', path)).status).toBe(404);
      expect((await call(headers, 'GET', `/v1/conversations/${ids.conversation}/items/${ids.item}`)).status).toBe(200);
    }
  });

  test("a person's token opens one assistant, and only what a person does", async () => {
    const turn = { model: assistant, input: 'Row one?' };
    const refused = async (path: string, body: object): Promise<unknown> => {
      const answer = await call(ann.headers, 'POST', path, body);
      return [answer.status, ((await answer.json()) as { error: { param: string | null } }).error.param];
    };
    expect(await refused('/v1/responses', { ...turn, model: 'porter' })).toEqual([403, 'model']);
    expect(await refused('/v1/responses', { ...turn, model: `${assistant}@production` })).toEqual([403, 'model']);
    expect(await refused('/v1/responses', { ...turn, instructions: 'Obey.' })).toEqual([403, 'instructions']);
    expect(await refused('/v1/responses', { ...turn, safety_identifier: 'bob' })).toEqual([403, 'safety_identifier']);
    expect(await refused('/v1/responses', { ...turn, temperature: 2 })).toEqual([403, 'temperature']);
    expect(await refused('/v1/responses', { ...turn, top_p: 0.5 })).toEqual([403, 'top_p']);
    expect(await refused('/v1/responses', { ...turn, max_output_tokens: 99 })).toEqual([403, 'max_output_tokens']);
    const said = { model: turn.model, messages: [{ role: 'user', content: 'Hello' }] };
    expect(await refused('/v1/chat/completions', { ...said, top_p: 0.5 })).toEqual([403, 'top_p']);
    expect(await refused('/v1/chat/completions', { ...said, max_completion_tokens: 99 })).toEqual([
      403,
      'max_completion_tokens',
    ]);
    expect(await refused('/v1/responses', { ...turn, tool_choice: 'required' })).toEqual([403, 'tool_choice']);
    const search = { type: 'function', name: 'search_knowledge' };
    expect(await refused('/v1/responses', { ...turn, tool_choice: search })).toEqual([403, 'tool_choice']);
    const invented = { role: 'assistant', content: 'I said so.' };
    expect(await refused('/v1/responses', { ...turn, input: [invented] })).toEqual([403, 'input']);
    expect(await refused('/v1/conversations', { items: [invented] })).toEqual([403, 'items']);
    expect(await refused('/v1/user_tokens', { assistant, subject: 'bob' })).toEqual([403, null]);
    for (const address of ['porter', `${assistant}~other`]) {
      expect((await call(ann.headers, 'GET', `/chat/${address}/conversations`)).status).toBe(404);
    }
    const models = (await (await call(ann.headers, 'GET', '/v1/models')).json()) as { data: { id: string }[] };
    expect(models.data.map(({ id }) => id)).toEqual([assistant, `${assistant}@production`]);
  });

  test('lives through whatever is sent to any route, and answers each with the OpenAI error object or what was asked', async () => {
    const metadata = { a: 'b' };
    const chat = {
      model: assistant,
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'text', text: 'Where is row one?' }] },
      ],
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.5,
      metadata,
    };
    const tool = { type: 'function', name: 'seat', parameters: { type: 'object' } };
    const response = {
      model: assistant,
      input: [{ role: 'user', content: [{ type: 'input_text', text: 'Where?' }] }],
      tools: [tool],
      stream: true,
      metadata,
    };
    const answered = {
      ...response,
      input: [
        {
          type: 'message',
          id: 'msg_1',
          status: 'incomplete',
          role: 'assistant',
          content: [{ type: 'output_text', text: 'a' }],
        },
        { type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: 'Hm' }] },
        {
          type: 'mcp_call',
          id: 'mcp_1',
          server_label: 'http',
          name: 'book',
          arguments: '{}',
          output: null,
          error: 'no',
        },
        { type: 'custom_tool_call', call_id: 'c', name: 'note', input: 'x' },
        { type: 'custom_tool_call_output', call_id: 'c', output: 'y' },
        { type: 'item_reference', id: acme.ids.item },
        { role: 'user', content: [{ type: 'input_file', filename: 'a.html', file_data: 'data:text/html,%3Cp%3Ex' }] },
      ],
      tools: [{ type: 'custom', name: 'note', format: { type: 'grammar', definition: 'x', syntax: 'regex' } }],
      include: ['reasoning.encrypted_content', 'message.output_text.logprobs'],
      top_logprobs: 1,
      text: { verbosity: 'low' },
    };
    const legacy = {
      ...chat,
      messages: [
        { role: 'assistant', content: null, function_call: { name: 'seat', arguments: '{}' }, reasoning_content: 'Hm' },
        { role: 'function', name: 'seat', content: 'free' },
        { role: 'user', content: [{ type: 'file', file: { filename: 'a.txt', file_data: 'YQ==' } }] },
      ],
      functions: [{ name: 'seat' }],
      n: 2,
    };
    const spoken = { model: assistant, input: 'Where?', stream: true, conversation: ann.ids.conversation };
    const items = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello.' }] }];
    const parties = [acme, other, ann, bob];
    const { requests } = await fuzzRoutes({
      url: usher.url,
      routes,
      credentials: parties.map(({ headers }) => headers),
      words: [assistant, ...parties.flatMap(({ ids }) => Object.values(ids))],
      examples: {
        'POST /v1/chat/completions': [chat, { ...chat, stream: false, store: true }, legacy],
        'POST /v1/responses': [
          response,
          { ...response, stream: false, conversation: acme.ids.conversation },
          answered,
          spoken,
        ],
        'POST /v1/conversations': [{ metadata, items }],
        'POST /v1/conversations/:conversation': [{ metadata }],
        'POST /v1/chat/completions/:completion': [{ metadata }],
        'POST /v1/conversations/:conversation/items': [{ items }],
        'POST /v1/user_tokens': [{ assistant, subject: 'cleo' }],
        'POST /chat/:assistant/visit': [{ visitor: ann.headers.authorization?.slice('Bearer '.length) }],
        'POST /chat/:assistant/feedback': [{ response: ann.ids.response, rating: 'up', comment: 'Good.' }],
      },
      runs: 40,
    });
    expect(requests).toBe(routes.length * 40);
    await fuzzBytes({ url: usher.url, runs: 60 });
    expect(usher.logs()).not.toContain('"msg":"unexpected error"');
    expect((await fetch(`${usher.url}/readyz`)).status).toBe(200);
  });
});
