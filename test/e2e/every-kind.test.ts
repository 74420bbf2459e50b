import type OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';
import { startToolServer, type ToolServer } from '../chaos/tool-server.ts';

/* One assistant that has everything: what its kinds of items do to one another. */

type Response = OpenAI.Responses.Response;
type Body = OpenAI.Responses.ResponseCreateParamsNonStreaming;

const model = 'helper';
let simulator: ModelSimulator;
let tools: ToolServer;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();
let operatorKey: string;

beforeAll(async () => {
  simulator = await startModelSimulator();
  tools = await startToolServer(20);
  const tool = (name: string, change: object) => ({
    kind: 'http',
    name,
    description: 'Does it.',
    method: 'POST',
    url: `${tools.origin}/${name}`,
    parameters: { type: 'object', properties: { seat: { type: 'integer' } } },
    ...change,
  });
  const knowledge = { 'bar.md': '# Bar\n\nThe bar opens at six.\n' };
  const all = {
    tools: [tool('book', {}), tool('pay', { confirm: true })],
    knowledge: { search: 'tool' },
    handover: {},
    context: { budgetTokens: 3000, whenFull: 'compact', compactAt: 0.4 },
    turns: { rescue: 'restart', whileBusy: 'queue' },
  };
  usher = await startUsher(
    usherFiles([simulator.baseUrl], {
      assistants: { [model]: { spec: all, knowledge } },
      config: { tools: { privateOrigins: [tools.origin] } },
    }),
  );
  client = clientOf(usher);
  operatorKey = await usher.key('operate');
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), tools?.stop()]);
});

const filler = (name: string): string => `${name}: ${'the guest would like a seat near the aisle. '.repeat(12)}`;
const kindsOf = ({ output }: Response): readonly string[] => output.map(({ type }) => type);
const asked = async (): Promise<number> => (await simulator.log()).totals.requests;
const countOf = (path: string): number =>
  [...tools.hits].reduce((sum, [key, count]) => sum + (key.startsWith(`${path} `) ? count : 0), 0);

async function admin<T>(method: string, path: string, body?: object): Promise<T> {
  const headers = { authorization: `Bearer ${operatorKey}`, 'content-type': 'application/json' };
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  return (await (await fetch(`${usher.url}/admin/handovers${path}`, { method, headers, ...json })).json()) as T;
}

async function waitingIn(conversation: string): Promise<{ readonly id: string; readonly waiting: string | null }> {
  const find = async () => {
    const { handovers } = await admin<{
      handovers: { id: string; conversation: string | null; waiting: string | null }[];
    }>('GET', '?limit=100');
    return handovers.find((one) => one.conversation === conversation && one.waiting !== null);
  };
  await expect.poll(find, { timeout: 10_000 }).toBeDefined();
  return (await find())!;
}

/** Streams a response, and holds what the official client makes of it, from every event on, against what is stored. */
async function streamed(body: Body): Promise<Response> {
  const live = await heard(await client.responses.create({ ...body, stream: true }));
  expect(isGapless(live, 0)).toBe(true);
  const final = await accumulated(live);
  const query = body.include == null ? {} : { include: body.include };
  expect(final).toEqual(plain(await client.responses.retrieve(final.id, query)));
  for (let offset = 0; offset < live.length; offset += 1) {
    const again = await heard(await client.responses.retrieve(final.id, { stream: true, starting_after: offset }));
    expect(again).toEqual(live.slice(offset + 1));
    expect(await accumulated([...live.slice(0, offset + 1), ...again])).toEqual(final);
  }
  return final;
}

function requestIn({ output }: Response): string {
  const request = output.find((item) => item.type === 'mcp_approval_request');
  if (request === undefined) throw new Error('nothing is to be approved');
  return request.id;
}

const approval = (approval_request_id: string) => ({
  type: 'mcp_approval_response' as const,
  approval_request_id,
  approve: true,
});

/** A conversation that the next message makes outgrow its context. */
async function longTalk(): Promise<string> {
  const { id: conversation } = await client.conversations.create();
  for (let nth = 0; nth < 7; nth += 1) {
    await client.responses.create({ model, conversation, input: `${filler(`Part ${nth}`)} [[sim:say Noted.]]` });
  }
  return conversation;
}

describe('an answer of every kind is the same heard again from every event on, and as it is stored', () => {
  test.each([
    ['thoughts', '[[sim:think Look.]] [[sim:say Row seven]]', {}, ['reasoning', 'message']],
    [
      'custom calls',
      '[[sim:call write {"a":1}]]',
      { tools: [{ type: 'custom', name: 'write' }] },
      ['custom_tool_call'],
    ],
    [
      'a search, and what it found cited',
      '[[sim:call file_search {"query":"bar opens"}]] [[sim:say At six [1].]]',
      { include: ['file_search_call.results'] },
      ['file_search_call', 'message'],
    ],
    [
      'thoughts before each of several steps',
      '[[sim:think One.]] [[sim:call book {"seat":7}]] [[sim:then]] [[sim:call file_search {"query":"bar"}]] [[sim:say Ok]]',
      {},
      ['reasoning', 'mcp_call', 'reasoning', 'file_search_call', 'reasoning', 'message'],
    ],
    [
      'a tool that runs beside one that is asked about',
      '[[sim:call book {"seat":7}]] [[sim:call pay {"seat":7}]] [[sim:call pay {"seat":8}]]',
      {},
      ['mcp_call', 'mcp_approval_request', 'mcp_approval_request'],
    ],
  ] as const)('%s', async (_name, input, change, kinds) => {
    expect(kindsOf(await streamed({ model, input, ...(change as Partial<Body>) }))).toEqual(kinds);
  });

  test('calls that count no more, since their answer broke off and was made anew', async () => {
    const before = countOf('/book');
    const calls = '[[sim:call book {"seat":7}]] [[sim:call book {"seat":8}]]';
    await simulator.plan(`${calls} [[sim:cut after=9 how=reset]]`);
    await simulator.planAll(`${calls} [[sim:say Booked.]]`);
    const final = await streamed({ model, input: 'Book both.' });
    expect(kindsOf(final)).toEqual(['mcp_call', 'mcp_call', 'message']);
    expect(countOf('/book')).toBe(before + 2);
  });

  test('an answer made anew after a step that counts: a listener is told what does', async () => {
    await simulator.plan('[[sim:call book {"seat":7}]]');
    await simulator.plan('[[sim:tokens 30]] [[sim:cut after=12 how=reset]]');
    await simulator.plan('[[sim:say Booked.]]');
    const final = await streamed({ model, input: 'Book it.' });
    expect(kindsOf(final)).toEqual(['mcp_call', 'message']);
    const events = await heard(await client.responses.retrieve(final.id, { stream: true }));
    const begun = events.flatMap((event) => (event.type === 'response.in_progress' ? [event.response.output] : []));
    expect(begun).toMatchObject([[], [final.output[0]!]]);
  });

  test('one that broke off, where what is made anew is empty: its beginning does not pass for the whole', async () => {
    await simulator.plan('[[sim:tokens 30]] [[sim:cut after=12 how=reset]]');
    await simulator.plan('[[sim:tokens 0]]');
    expect(await streamed({ model, input: 'Go on.' })).toMatchObject({ status: 'completed', output: [] });
  });

  test('a summary, then what the person had agreed to, with what came of it', async () => {
    const conversation = await longTalk();
    const input = `${filler('More')} [[sim:call pay {"seat":7}]] [[sim:say Paid.]]`;
    const first = await client.responses.create({ model, conversation, input });
    const before = await asked();
    const grown = Array.from({ length: 4 }, (_, nth) => ({ role: 'user' as const, content: filler(`Also ${nth}`) }));
    await client.conversations.items.create(conversation, { items: grown });
    await simulator.planAll('[[sim:say Paid.]]');
    const final = await streamed({ model, conversation, input: [approval(requestIn(first))] });
    expect(kindsOf(final)).toEqual(['compaction', 'mcp_call', 'message']);
    expect(await asked()).toBe(before + 2);
  });
});

describe('a conversation that a person has', () => {
  test('runs what was agreed to before, and then waits for them', async () => {
    const { id: conversation } = await client.conversations.create();
    const first = await client.responses.create({ model, conversation, input: '[[sim:call pay {"seat":7}]]' });
    await admin('POST', '', { conversation });
    const [before, paid] = [await asked(), countOf('/pay')];
    const answering = streamed({ model, conversation, input: [approval(requestIn(first))] });
    const { id } = await waitingIn(conversation);
    await admin('POST', `/${id}/answers`, { text: 'Paid, I see.', name: 'Mira' });
    const final = await answering;
    expect(kindsOf(final)).toEqual(['mcp_call', 'mcp_call', 'message']);
    expect(final.output[0]).toMatchObject({ name: 'pay', output: '{"booked":true}' });
    expect(countOf('/pay')).toBe(paid + 1);
    expect(await asked()).toBe(before);
    await admin('POST', `/${id}/return`);
  });

  test('takes a second message after the first is answered, each by them', async () => {
    const { id: conversation } = await client.conversations.create();
    await client.responses.create({ model, conversation, input: '[[sim:say Hello]]' });
    await admin('POST', '', { conversation });
    const first = client.responses.create({ model, conversation, input: 'One?' });
    const { id, waiting } = await waitingIn(conversation);
    const second = client.responses.create({ model, conversation, input: 'Two?' });
    await admin('POST', `/${id}/answers`, { text: 'One.' });
    expect((await first).output_text).toBe('One.');
    await expect.poll(async () => (await waitingIn(conversation)).waiting).not.toBe(waiting);
    await admin('POST', `/${id}/answers`, { text: 'Two.' });
    expect((await second).output_text).toBe('Two.');
    await admin('POST', `/${id}/return`);
  });

  test('and is deleted, or its response, asks no model and leaves nobody waiting', async () => {
    for (const what of ['response', 'conversation'] as const) {
      const { id: conversation } = await client.conversations.create();
      const input = '[[sim:call hand_over {"reason":"x"}]] [[sim:say I am not asked]]';
      const taken = await client.responses.create({ model, conversation, input, background: true });
      await waitingIn(conversation);
      const before = await asked();
      if (what === 'response') await client.responses.delete(taken.id);
      else await client.conversations.delete(conversation);
      await expect(client.responses.retrieve(taken.id)).rejects.toMatchObject({ status: 404 });
      const open = async () => {
        const { handovers } = await admin<{ handovers: { waiting: string | null }[] }>('GET', '?limit=100');
        return handovers.filter(({ waiting }) => waiting !== null);
      };
      await expect.poll(open).toEqual([]);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      expect(await asked()).toBe(before);
    }
  });
});
