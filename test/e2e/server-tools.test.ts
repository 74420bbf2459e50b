import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';
import { startToolServer, type ToolServer } from '../chaos/tool-server.ts';

let simulator: ModelSimulator;
let tools: ToolServer;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();
const model = 'helper';
const budgetTokens = 2000;

beforeAll(async () => {
  simulator = await startModelSimulator();
  tools = await startToolServer(800);
  const tool = (name: string, rest: object = {}) => ({
    kind: 'http',
    name,
    description: 'Books a seat.',
    method: 'POST',
    url: `${tools.origin}/${name}`,
    parameters: { type: 'object', properties: { seat: { type: 'integer' } }, required: ['seat'] },
    ...rest,
  });
  const gone = { url: 'http://127.0.0.1:9/gone' };
  const asPerson = { authorisation: 'user', idempotent: true };
  const assistants = {
    [model]: { spec: { tools: [tool('book'), tool('gone', gone), tool('own', asPerson)] } },
    plain: { spec: { tools: [tool('book')] } },
    wordy: {
      spec: {
        tools: ['a', 'b', 'c', 'd'].map((name) => tool(name, { description: 'Books a seat. '.repeat(70) })),
        context: { budgetTokens },
      },
      knowledge: { 'seats.md': `# Seats\n\n${'A seat is a place to sit down. '.repeat(200)}` },
    },
    narrow: { spec: { tools: [tool('long', { idempotent: true })], context: { budgetTokens } } },
  };
  const config = { tools: { privateOrigins: [tools.origin, 'http://127.0.0.1:9'] } };
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants, config }));
  client = clientOf(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), tools?.stop()]);
});

describe('a tool of the assistant', () => {
  test('is run between two answers of the model, told as it happens, stored, and heard again the same', async () => {
    const input = '[[sim:call book {"seat":7}]] [[sim:say It is booked.]]';
    const events = await heard(await client.responses.create({ model, input, stream: true }));
    const types = events.map(({ type }) => type);
    const order = [
      'response.mcp_call_arguments.done',
      'response.mcp_call.in_progress',
      'response.mcp_call.completed',
      'response.completed',
    ];
    expect(types.filter((type) => order.includes(type))).toEqual(order);
    expect(isGapless(events, 0)).toBe(true);
    const final = await accumulated(events);
    expect(final.output_text).toBe('It is booked.');
    expect(final.output[0]).toMatchObject({ type: 'mcp_call', name: 'book', output: '{"booked":true}', error: null });
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    for (let offset = 0; offset < events.length; offset += 1) {
      const again = await heard(await client.responses.retrieve(final.id, { stream: true, starting_after: offset }));
      expect(again).toEqual(events.slice(offset + 1));
    }
  });

  test('is part of what the next turn knows, on Chat Completions its work alone is seen', async () => {
    const { id: conversation } = await client.conversations.create();
    await client.responses.create({ model, conversation, input: '[[sim:call book {"seat":8}]] [[sim:say Done.]]' });
    await client.responses.create({ model, conversation, input: '[[sim:say You have seat 8.]]' });
    const { requests } = await simulator.log();
    expect(JSON.stringify(requests.at(-1)?.body)).toContain('booked');
    const messages = [{ role: 'user' as const, content: '[[sim:call book {"seat":9}]] [[sim:say Done.]]' }];
    const made = await client.chat.completions.create({ model, messages });
    expect(made.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'Done.' } });
    expect(made.choices[0]?.message.tool_calls).toBeUndefined();
  });

  test('that fails or is called wrongly is told to the model, which answers', async () => {
    const said = '[[sim:say Sorry.]]';
    for (const call of ['gone {"seat":1}', 'book {"seat":"seven"}']) {
      const made = await client.responses.create({ model, input: `[[sim:call ${call}]] ${said}` });
      expect(made.output_text).toBe('Sorry.');
      expect(made.output[0]).toMatchObject({ type: 'mcp_call', status: 'failed', output: null });
    }
  });

  test('beside a function of the caller: the tool is run, the function is the caller’s', async () => {
    const own = {
      type: 'function' as const,
      name: 'mine',
      parameters: { type: 'object', properties: {} },
      strict: false,
    };
    const input = '[[sim:call book {"seat":3}]] [[sim:call mine {}]]';
    const made = await client.responses.create({ model, input, tools: [own] });
    expect(made.output.map((item) => item.type)).toEqual(['mcp_call', 'function_call']);
    expect(made.output[0]).toMatchObject({ output: '{"booked":true}' });
  });

  test('is not mistaken for a function of the same name that the caller brings', async () => {
    const own = { type: 'function' as const, name: 'book', parameters: {}, strict: false };
    const refused = { status: 400, param: 'tools[0]', message: expect.stringContaining('called "book"') as string };
    await expect(client.responses.create({ model, input: 'Hi', tools: [own] })).rejects.toMatchObject(refused);
    const chat = { model, messages: [{ role: 'user' as const, content: 'Hi' }] };
    const tool = { type: 'function' as const, function: { name: 'book' } };
    await expect(client.chat.completions.create({ ...chat, tools: [tool] })).rejects.toMatchObject(refused);
  });

  test('that is stopped is closed as cancelled, and the next turn goes on', async () => {
    const { id: conversation } = await client.conversations.create();
    const input = '[[sim:call book {"seat":11}]] [[sim:say Done.]]';
    const before = tools.hits.size;
    const taken = await client.responses.create({ model, conversation, input, background: true });
    await expect.poll(() => tools.hits.size, { timeout: 10_000 }).toBeGreaterThan(before);
    const stopped = await client.responses.cancel(taken.id);
    expect(stopped).toMatchObject({ status: 'cancelled', output: [{ type: 'mcp_call', status: 'incomplete' }] });
    const next = await client.responses.create({ model, conversation, input: '[[sim:say On we go.]]' });
    expect(next.output_text).toBe('On we go.');
  });

  test('is not called more often than the caller allows', async () => {
    const input = '[[sim:call book {"seat":21}]] [[sim:then]] [[sim:call book {"seat":22}]] [[sim:say Enough.]]';
    const made = await client.responses.create({ model, input, max_tool_calls: 1 });
    const calls = made.output.filter((item) => item.type === 'mcp_call');
    expect(calls.map(({ error }) => error === null)).toEqual([true, false]);
    expect(made.output_text).toBe('Enough.');
  });

  test('is called 64 times in a turn at the most, whatever the caller allows', async () => {
    const input = `${Array.from({ length: 66 }, (_, seat) => `[[sim:call gone {"seat":${seat}}]]`).join(' ')} [[sim:say Enough.]]`;
    const made = await client.responses.create({ model, input, max_tool_calls: 1000 });
    const calls = made.output.filter((item) => item.type === 'mcp_call');
    expect(calls).toHaveLength(66);
    expect(calls.filter(({ error }) => JSON.stringify(error).includes('No more calls'))).toHaveLength(2);
  });
});

describe('a tool that acts for the person', () => {
  const input = '[[sim:call own {"seat":30}]] [[sim:say Yours.]]';
  const headers = { 'X-User-Authorization': 'Bearer of-ann' };
  const kept = (): readonly unknown[] => {
    const db = new DatabaseSync(join(usher.dataDir, 'usher.db'), { readOnly: true });
    const rows = db
      .prepare(
        `select user_authorisation as bearer from turns where user_authorisation is not null
         union all select user_authorisation from queued_turns where user_authorisation is not null`,
      )
      .all();
    db.close();
    return rows.map(({ bearer }) => bearer);
  };

  test('has the bearer that came with the request, and is refused without one', async () => {
    const before = tools.authorisations.length;
    expect((await client.responses.create({ model, input }, { headers })).output[0]).toMatchObject({ error: null });
    expect(tools.authorisations.slice(before)).toEqual(['Bearer of-ann']);
    const refused = await client.responses.create({ model, input });
    expect(JSON.stringify(refused.output[0])).toContain('none came with the request');
    const unkept = await client.responses.create({ model, input, store: false }, { headers });
    expect(unkept.output[0]).toMatchObject({ error: null });
  });

  test(
    'has it in the background too, and after its node was lost; it is sealed, and gone with the turn',
    { timeout: 60_000 },
    async () => {
      const before = tools.authorisations.length;
      const taken = await client.responses.create({ model, input, background: true }, { headers });
      await expect.poll(() => tools.authorisations.length, { timeout: 10_000 }).toBe(before + 1);
      const sealed = kept();
      expect(sealed).toHaveLength(1);
      expect(Buffer.from(sealed[0] as Uint8Array).toString('latin1')).not.toContain('of-ann');
      await usher.restart();
      const status = () => client.responses.retrieve(taken.id).then((made) => made.status);
      await expect.poll(status, { timeout: 30_000 }).toBe('completed');
      expect(tools.authorisations.slice(before)).toEqual(['Bearer of-ann', 'Bearer of-ann']);
      expect(kept()).toEqual([]);
    },
  );

  test('is the only reason to keep it', async () => {
    const call = '[[sim:call book {"seat":31}]] [[sim:say Booked.]]';
    const hits = tools.hits.size;
    const running = client.responses.create({ model: 'plain', input: call }, { headers });
    await expect.poll(() => tools.hits.size, { timeout: 10_000 }).toBeGreaterThan(hits);
    expect(kept()).toEqual([]);
    await running;
  });
});

describe('a tool that tells more than the context holds', () => {
  const long = '[[sim:call long {"seat":1}]]';
  const tokensOf = (body: unknown): number => JSON.stringify((body as { messages: unknown }).messages).length / 4;

  test('is cut before the model, in this turn and in the next ones, and what was said stays there', async () => {
    const { totals: before } = await simulator.log();
    const { id: conversation } = await client.conversations.create();
    await client.responses.create({ model: 'narrow', conversation, input: 'My name is Ann. [[sim:say Hello.]]' });
    const asked = { model: 'narrow', conversation };
    const input = `How are they? ${long} ${long} ${long} [[sim:say Well.]]`;
    const made = await client.responses.create({ ...asked, input });
    expect(made.output_text).toBe('Well.');
    expect(JSON.stringify(made.output[0]).length).toBeGreaterThan(40_000);
    await client.responses.create({ ...asked, input: '[[sim:say Ann.]] Who am I?' });
    const requests = (await simulator.log()).requests.filter(({ id }) => id > before.requests);
    const prompts = requests.map(({ body }) => JSON.stringify(body));
    expect(prompts).toHaveLength(4);
    for (const { body } of requests) expect(tokensOf(body)).toBeLessThan(budgetTokens * 1.2);
    for (const prompt of prompts) expect(prompt).toContain('My name is Ann.');
    for (const prompt of prompts.slice(2)) expect(prompt).toContain('does not fit the context');
    for (const prompt of prompts.slice(1)) expect(prompt).toContain('How are they?');
  });

  test('ends a turn visibly whose caller wants nothing left out', async () => {
    const asked = { model: 'narrow', truncation: 'disabled' as const };
    const made = client.responses.create({ ...asked, input: `${long} [[sim:say Well.]]` });
    await expect(made).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
  });
});

describe('descriptions of functions', () => {
  const tokensOf = (body: unknown): number => {
    const { messages, tools: functions } = body as { messages: unknown; tools: unknown };
    return JSON.stringify([messages, functions]).length / 4;
  };
  const ask = async (request: object): Promise<number[]> => {
    const { totals: before } = await simulator.log();
    const { id: conversation } = await client.conversations.create();
    for (const name of ['Ann', 'Bea', 'Cleo']) {
      const input = `${`${name} has a seat. `.repeat(100)} [[sim:say Noted.]]`;
      await client.responses.create({ ...request, conversation, input });
    }
    return (await simulator.log()).requests.filter(({ id }) => id > before.requests).map(({ body }) => tokensOf(body));
  };

  test('of the assistant take their part of the context, so that knowledge and history have less', async () => {
    const sizes = await ask({ model: 'wordy' });
    expect(sizes).toHaveLength(3);
    for (const size of sizes) expect(size).toBeLessThan(budgetTokens * 1.1);
    const { input_tokens: counted } = await client.responses.inputTokens.count({ model: 'wordy', input: 'Hello' });
    expect(counted).toBeGreaterThan(900);
  });

  test('of the caller do, too, and are refused where they leave no room for the question', async () => {
    const own = (length: number) => ({
      type: 'function' as const,
      name: 'mine',
      description: 'm'.repeat(length),
      parameters: {},
      strict: false,
    });
    for (const size of await ask({ model: 'narrow', tools: [own(4000)] }))
      expect(size).toBeLessThan(budgetTokens * 1.1);
    await expect(client.responses.create({ model: 'narrow', input: 'Hi', tools: [own(9000)] })).rejects.toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
      param: 'tools',
    });
  });
});
