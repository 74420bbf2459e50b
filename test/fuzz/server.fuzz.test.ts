import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openAiRoutes, type Route } from '#http';
import { startUsher, type UsherProcess } from '#test/process';
import { swapEveryId, type Party } from '#test/two-tenant-swap';
import { usherFiles } from '#test/usher-files';
import { fuzzBytes } from './fuzz-bytes.ts';
import { fuzzRoutes } from './fuzz-routes.ts';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const assistant = 'guide';
/** The table alone is read here: it is the process that handles. */
const routes: readonly Route[] = openAiRoutes({} as Parameters<typeof openAiRoutes>[0]);

let usher: UsherProcess;
let acme: Party;
let other: Party;

beforeAll(async () => {
  const { files } = usherFiles([], { assistants: { [assistant]: { knowledge: { 'a.md': '# Seats\n\nRow one.' } } } });
  const assistants = [{ name: assistant, folder: `./${assistant}` }];
  const limits = { requestsPerMinute: 10_000_000, concurrency: 1000 };
  const config = {
    backends: [{ name: 'knowledge', kind: 'knowledge' }],
    tenants: ['acme', 'other'].map((id) => ({ id, assistants, limits })),
  };
  usher = await startUsher({ config: JSON.stringify(config), files });
  acme = await party('acme');
  other = await party('other');
});

afterAll(async () => {
  await usher?.stop();
});

/** A key of that tenant, made by the command line while the server runs, and one thing of each kind made with it. */
async function party(tenant: string): Promise<Party> {
  const where = ['--config', join(usher.home, 'usher.yaml'), '--data', usher.dataDir];
  const create = [launcher, 'keys', 'create', '--tenant', tenant, '--json', ...where];
  const { stdout } = await promisify(execFile)(process.execPath, create);
  const { key } = JSON.parse(stdout) as { key: string };
  const headers = { authorization: `Bearer ${key}` };
  const make = async (path: string, body: object): Promise<{ id: string; data: { id: string }[] }> => {
    const answer = await fetch(usher.url + path, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(answer.status).toBe(200);
    return (await answer.json()) as { id: string; data: { id: string }[] };
  };
  const conversation = await make('/v1/conversations', {});
  const said = { type: 'message', role: 'user', content: 'Where is my seat?' };
  const items = await make(`/v1/conversations/${conversation.id}/items`, { items: [said] });
  const response = await make('/v1/responses', { model: assistant, input: 'Where is row one?' });
  const ids = { conversation: conversation.id, item: items.data[0]?.id ?? '', response: response.id };
  return { name: tenant, tenant, subject: null, headers, ids };
}

describe('the real server', () => {
  test('gives nobody anything of another tenant, by whatever id, in path or body', async () => {
    const turn = { model: assistant, input: 'Go on.' };
    const message = { type: 'message', role: 'user', content: 'Hello.' };
    const report = await swapEveryId({
      url: usher.url,
      routes,
      parties: [acme, other],
      publicParameters: ['model'],
      bodies: {
        'POST /v1/conversations/:conversation': { metadata: { a: 'b' } },
        'POST /v1/conversations/:conversation/items': { items: [message] },
      },
      carriers: [
        {
          method: 'POST',
          path: '/v1/responses',
          carries: ['conversation'],
          body: ({ conversation }) => ({ ...turn, conversation }),
        },
        {
          method: 'POST',
          path: '/v1/responses',
          carries: ['response'],
          body: ({ response }) => ({ ...turn, previous_response_id: response }),
        },
      ],
    });
    expect(report.problems).toEqual([]);
    expect(report.swaps).toBeGreaterThan(20);
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
    const items = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Hello.' }] }];
    await fuzzRoutes({
      url: usher.url,
      routes,
      credentials: [acme.headers, other.headers],
      words: [assistant, ...Object.values(acme.ids), ...Object.values(other.ids)],
      examples: {
        'POST /v1/chat/completions': [chat, { ...chat, stream: false }],
        'POST /v1/responses': [response, { ...response, stream: false, conversation: acme.ids.conversation }],
        'POST /v1/conversations': [{ metadata, items }],
        'POST /v1/conversations/:conversation': [{ metadata }],
        'POST /v1/conversations/:conversation/items': [{ items }],
      },
      runs: 60,
    });
    await fuzzBytes({ url: usher.url, runs: 60 });
    expect(usher.logs()).not.toContain('"msg":"unexpected error"');
    expect((await fetch(`${usher.url}/readyz`)).status).toBe(200);
  });
});
