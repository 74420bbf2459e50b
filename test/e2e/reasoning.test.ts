import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';
import { startToolServer, type ToolServer } from '../chaos/tool-server.ts';

type InputItem = OpenAI.Responses.ResponseInputItem;
type Reasoning = OpenAI.Responses.ResponseReasoningItem;

const model = 'helper';
const input = '[[sim:think Row seven is free.]] [[sim:say Row seven]]';
const user = (content: string) => ({ role: 'user' as const, content });
const seats = { type: 'function' as const, name: 'seats', parameters: {}, strict: false };

let simulator: ModelSimulator;
let tools: ToolServer;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();

beforeAll(async () => {
  simulator = await startModelSimulator();
  tools = await startToolServer(0);
  const book = {
    kind: 'http',
    name: 'book',
    description: 'Books a seat.',
    method: 'POST',
    url: `${tools.origin}/book`,
    parameters: { type: 'object', properties: { seat: { type: 'integer' } } },
  };
  const assistants = { [model]: {}, booker: { spec: { tools: [book] } } };
  usher = await startUsher(
    usherFiles([simulator.baseUrl], { assistants, config: { tools: { privateOrigins: [tools.origin] } } }),
  );
  client = clientOf(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), tools?.stop()]);
});

async function asked(): Promise<
  { messages: { role: string; reasoning_content?: string }[] } & Record<string, unknown>
> {
  const { requests } = await simulator.log();
  return requests.at(-1)!.body as Awaited<ReturnType<typeof asked>>;
}

const thoughtsAsked = async () => (await asked()).messages.map((message) => message.reasoning_content ?? null);

describe('what a model thinks', () => {
  test('is an item of its own before the message, told as it comes, stored, and heard again the same', async () => {
    const body = { model, input, reasoning: { effort: 'low' as const, summary: 'auto' as const } };
    const events = await heard(await client.responses.create({ ...body, stream: true }));
    const types = events.map(({ type }) => type);
    expect(types.filter((type, index) => type !== types[index - 1])).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.reasoning_text.delta',
      'response.reasoning_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    expect(isGapless(events, 0)).toBe(true);
    const final = await accumulated(events);
    expect(final.output).toMatchObject([
      {
        type: 'reasoning',
        id: expect.stringMatching(/^rs_[0-9a-f]{32}$/),
        summary: [],
        content: [{ type: 'reasoning_text', text: 'Row seven is free.' }],
        status: 'completed',
      },
      { type: 'message' },
    ]);
    expect(final.output[0]).not.toHaveProperty('encrypted_content');
    expect(final).toMatchObject({ output_text: 'Row seven', reasoning: { effort: 'low', summary: 'auto' } });
    expect(final.usage?.output_tokens_details.reasoning_tokens).toBeGreaterThan(1);
    expect((await asked())['reasoning_effort']).toBe('low');
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    for (let offset = 0; offset < events.length; offset += 1) {
      const again = await heard(await client.responses.retrieve(final.id, { stream: true, starting_after: offset }));
      expect(again).toEqual(events.slice(offset + 1));
    }
  });

  test('is not shown to a person with a token of their own, in no form and from no offset', async () => {
    const post = async (path: string, body: object) => {
      const headers = { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json' };
      return (await fetch(usher.url + path, { method: 'POST', headers, body: JSON.stringify(body) })).json();
    };
    const { token } = (await post('/v1/user_tokens', { assistant: model, subject: 'ann' })) as { token: string };
    const person = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: token, maxRetries: 0 });
    const { id: conversation } = await person.conversations.create();
    const events = await heard(await person.responses.create({ model, conversation, input, stream: true }));
    expect(isGapless(events, 0)).toBe(true);
    const final = await accumulated(events);
    expect(final.output).toMatchObject([{ type: 'reasoning', content: [] }, { type: 'message' }]);
    expect(final).toEqual(plain(await person.responses.retrieve(final.id)));
    const whole = await heard(await person.responses.retrieve(final.id, { stream: true }));
    expect(whole).toEqual(events);
    const { data } = await person.conversations.items.list(conversation);
    const seen = [events, final, data.filter((item) => !('role' in item && item.role === 'user'))];
    expect(JSON.stringify(seen)).not.toContain('is free.');
    // Numbers mean the same to the application, which sees all of it.
    const told = await heard(await client.responses.retrieve(final.id, { stream: true }));
    expect(told.map(({ type }) => type)).toEqual(events.map(({ type }) => type));
    expect(JSON.stringify(told)).toContain('is free.');
  });

  test('is beside the message on Chat Completions, as clients of vLLM and DeepSeek read it', async () => {
    const body = { model, messages: [user(input)] };
    const { message } = (await client.chat.completions.create(body)).choices[0]!;
    expect(message).toMatchObject({ content: 'Row seven', reasoning_content: 'Row seven is free.' });
    let thought = '';
    let text = '';
    for await (const { choices } of await client.chat.completions.create({ ...body, stream: true })) {
      const delta = choices[0]?.delta as { content?: string; reasoning_content?: string };
      if (delta.reasoning_content !== undefined) expect(text).toBe('');
      thought += delta.reasoning_content ?? '';
      text += delta.content ?? '';
    }
    expect([thought, text]).toEqual(['Row seven is free.', 'Row seven']);
  });

  test('goes back to it between its calls of tools, and no further', async () => {
    const question = '[[sim:think Book it.]] [[sim:call book {"seat":7}]] [[sim:say Done]]';
    const { output, id } = await client.responses.create({ model: 'booker', input: question });
    expect(output.map(({ type }) => type)).toEqual(['reasoning', 'mcp_call', 'reasoning', 'message']);
    expect((await asked()).messages.slice(2)).toMatchObject([
      { role: 'assistant', reasoning_content: 'Book it.', tool_calls: [{ function: { name: 'book' } }] },
      { role: 'tool' },
    ]);
    await client.responses.create({ model: 'booker', previous_response_id: id, input: 'And now?' });
    expect((await thoughtsAsked()).every((thought) => thought === null)).toBe(true);
  });

  test('before each of several steps is one text on Chat Completions, streamed or not', async () => {
    const question = '[[sim:think Book it.]] [[sim:call book {"seat":7}]] [[sim:say Done]]';
    const body = { model: 'booker', messages: [user(question)] };
    const { message } = (await client.chat.completions.create(body)).choices[0]!;
    expect(message).toMatchObject({ content: 'Done', reasoning_content: 'Book it.\n\nBook it.' });
    let thought = '';
    for await (const { choices } of await client.chat.completions.create({ ...body, stream: true })) {
      const delta = choices[0]?.delta as { reasoning_content?: string } | undefined;
      thought += delta?.reasoning_content ?? '';
    }
    expect(thought).toBe('Book it.\n\nBook it.');
  });

  test('also where the calls are the caller’s, on both wires', async () => {
    const question = '[[sim:think Look it up.]] [[sim:call seats {}]] [[sim:say Free]]';
    const body = { model, tools: [seats] };
    const first = await client.responses.create({ ...body, input: question });
    const call = first.output.find((item) => item.type === 'function_call')!;
    const result = { type: 'function_call_output' as const, call_id: call.call_id, output: 'free' };
    await client.responses.create({ ...body, previous_response_id: first.id, input: [result] });
    expect(await thoughtsAsked()).toEqual([null, null, 'Look it up.', null]);
    await client.responses.create({ ...body, input: [user(question), ...(first.output as InputItem[]), result] });
    expect(await thoughtsAsked()).toEqual([null, null, 'Look it up.', null]);
    const chat = { model, tools: [{ type: 'function' as const, function: { name: 'seats' } }] };
    const { message } = (await client.chat.completions.create({ ...chat, messages: [user(question)] })).choices[0]!;
    const tool = { role: 'tool' as const, tool_call_id: message.tool_calls![0]!.id, content: 'free' };
    await client.chat.completions.create({ ...chat, messages: [user(question), message, tool] });
    expect(await thoughtsAsked()).toEqual([null, null, 'Look it up.', null]);
  });

  test('is given sealed where the caller wants it so, and opens for that person alone', async () => {
    const question = '[[sim:think Look it up.]] [[sim:call seats {}]] [[sim:say Free]]';
    const body = { model, tools: [seats], store: false, safety_identifier: 'ann' };
    const include = ['reasoning.encrypted_content' as const];
    const { output } = await client.responses.create({ ...body, input: question, include });
    const thought = output[0] as Reasoning;
    expect(thought.encrypted_content).toMatch(/^[\w-]+$/);
    const sealed: Reasoning = {
      type: 'reasoning',
      id: thought.id,
      summary: [],
      encrypted_content: thought.encrypted_content!,
    };
    const call = output.find((item) => item.type === 'function_call')!;
    const result = { type: 'function_call_output' as const, call_id: call.call_id, output: 'free' };
    const said = [user(question), sealed, call as InputItem, result];
    await client.responses.create({ ...body, input: said });
    expect(await thoughtsAsked()).toEqual([null, null, 'Look it up.', null]);
    const other = client.responses.create({ ...body, input: said, safety_identifier: 'bob' });
    await expect(other).rejects.toMatchObject({ status: 400, param: 'input' });
    await expect(client.responses.create({ ...body, input, include: ['telepathy' as never] })).rejects.toMatchObject({
      status: 400,
      param: 'include[0]',
    });
  });

  test('told by a backend that then breaks is made anew elsewhere, though nothing else may be', async () => {
    const broken = await startModelSimulator();
    try {
      const names = ['broken', 'whole'];
      const backends = [broken, simulator].map(({ baseUrl: url }, index) => {
        return { name: names[index], kind: 'openai-compatible', url, model: 'simulated' };
      });
      await using other = await startUsher(
        usherFiles([], {
          assistants: { [model]: { spec: { pools: names, turns: { rescue: 'fail' } } } },
          config: { backends, pools: names.map((name) => ({ name, backends: [name] })) },
        }),
      );
      const rescued = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: other.apiKey, maxRetries: 0 });
      await broken.planAll('[[sim:think Row eight is free.]] [[sim:cut after=2]]');
      await simulator.planAll(input);
      const events = await heard(await rescued.responses.create({ model, input: 'Seat?', stream: true }));
      expect(events.filter(({ type }) => type === 'response.in_progress')).toHaveLength(2);
      const final = await accumulated(events);
      expect(final).toMatchObject({ status: 'completed', output_text: 'Row seven' });
      expect(final.output.map(({ type }) => type)).toEqual(['reasoning', 'message']);
      expect(final).toEqual(plain(await rescued.responses.retrieve(final.id)));
      const chat = await rescued.chat.completions.stream({ model, messages: [user('Seat?')] }).finalChatCompletion();
      expect(chat.choices[0]?.message.content).toBe('Row seven');
      expect((await broken.log()).requests).toHaveLength(2);
    } finally {
      await broken.stop();
    }
  });

  test('is thought anew where its one model server breaks off, and the owner lets answers be made anew', async () => {
    await simulator.plan('[[sim:think Row eight is free.]] [[sim:cut after=2]]');
    await simulator.plan(input);
    const final = await accumulated(await heard(await client.responses.create({ model, input: 'x', stream: true })));
    expect(final).toMatchObject({ status: 'completed', output_text: 'Row seven' });
    expect(final.output).toMatchObject([{ content: [{ text: 'Row seven is free.' }] }, { type: 'message' }]);
  });

  test('is not told again by a model that goes on with the text of another', async () => {
    await using able = await startUsher(
      usherFiles([simulator.baseUrl], { assistants: { [model]: {} }, backend: { continuation: 'assistant' } }),
    );
    const rescued = new OpenAI({ baseURL: `${able.url}/v1`, apiKey: able.apiKey, maxRetries: 0 });
    const says = '[[sim:think Look.]] [[sim:say Row seven has the best view of the stage.]]';
    const thoughts = (await simulator.log()).totals.tokens;
    await client.responses.create({ model, input: '[[sim:think Look.]] [[sim:tokens 0]]' });
    const thinking = (await simulator.log()).totals.tokens - thoughts;
    await simulator.plan(`${says} [[sim:cut after=${thinking + 4}]]`);
    await simulator.plan(says);
    const events = await heard(await rescued.responses.create({ model, input: 'where?', stream: true }));
    expect(events.filter(({ type }) => type === 'response.output_item.added')).toHaveLength(2);
    const final = await accumulated(events);
    expect(final.output).toMatchObject([{ content: [{ text: 'Look.' }] }, { type: 'message' }]);
    expect(final.output_text).toBe('Row seven has the best view of the stage.');
    expect(final).toEqual(plain(await rescued.responses.retrieve(final.id)));
  });

  test(
    'is durable as the rest: a node that takes the turn over begins anew, and says so',
    { timeout: 60_000 },
    async () => {
      await using lost = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
      const talking = new OpenAI({ baseURL: `${lost.url}/v1`, apiKey: lost.apiKey, maxRetries: 0 });
      await simulator.plan('[[sim:think Row seven is free, and row eight.]] [[sim:stall after=3]]');
      const taken = await talking.responses.create({ model, input: 'where?', background: true });
      const early: OpenAI.Responses.ResponseStreamEvent[] = [];
      for await (const event of await talking.responses.retrieve(taken.id, { stream: true })) {
        early.push(event);
        if (event.type === 'response.reasoning_text.delta') break;
      }
      await lost.kill();
      await simulator.control({ do: 'release' });
      await simulator.plan(input);
      await lost.restart();
      const state = async (): Promise<string | undefined> => (await talking.responses.retrieve(taken.id)).status;
      await expect.poll(state, { timeout: 30_000 }).toBe('completed');
      const events = await heard(await talking.responses.retrieve(taken.id, { stream: true }));
      expect(isGapless(events, 0)).toBe(true);
      expect(events.slice(0, early.length)).toEqual(early);
      expect(events.filter(({ type }) => type === 'response.in_progress')).toHaveLength(2);
      const final = await accumulated(events);
      expect(final.output.map(({ type }) => type)).toEqual(['reasoning', 'message']);
      expect(final).toEqual(plain(await talking.responses.retrieve(taken.id)));
    },
  );

  test('counts to the context where a model is to read it', async () => {
    const reasoning = (text: string) =>
      ({ type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text }] }) as InputItem;
    const long = reasoning('a'.repeat(8_000_000));
    const refused = { status: 400, code: 'context_length_exceeded' };
    await expect(client.responses.create({ model, input: [user('Row?'), long] })).rejects.toMatchObject(refused);
    // What nobody reads any more costs nothing.
    await client.responses.create({ model, input: [user('Row?'), long, user('[[sim:say Seven]]')] });
  });
});
