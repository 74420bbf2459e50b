import OpenAI from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { hasOpenAiSpec, openOpenAiSpec, type OpenAiSpec } from '#test/openai-spec';
import { startUsher, type UsherProcess } from '#test/process';
import {
  chunkEvent,
  doneEvent,
  scriptedBackend,
  streamHead,
  usageEvent,
  type ScriptedBackend,
} from '#test/scripted-backend';
import { usherFiles } from '#test/usher-files';

type Content = OpenAI.ChatCompletionContentPart[];
type StreamEvent = OpenAI.Responses.ResponseStreamEvent;

const model = 'helper';
const image = 'data:image/png;base64,iVBORw0KGgo=';
const schema = {
  type: 'object',
  properties: { row: { type: 'integer' } },
  required: ['row'],
  additionalProperties: false,
};
const seats = { name: 'seats', description: 'Free seats of a row', parameters: schema, strict: true };

let simulator: ModelSimulator;
let scripted: ScriptedBackend;
let usher: UsherProcess;
let client: OpenAI;
let spec: OpenAiSpec | undefined;
/** What the scripted backend answers next: deltas, in order. */
let script: readonly object[] = [];

beforeAll(async () => {
  spec = hasOpenAiSpec ? openOpenAiSpec() : undefined;
  simulator = await startModelSimulator();
  scripted = await scriptedBackend((_request, response) => {
    streamHead(response);
    response.end(
      script.map((delta) => chunkEvent(delta)).join('') + chunkEvent({}, 'stop') + usageEvent({}) + doneEvent,
    );
  });
  const [backend, own] = [simulator.baseUrl, scripted.url].map((url, index) => {
    return { name: `backend-${index}`, kind: 'openai-compatible', url, model: 'simulated' };
  });
  const knowledge = { 'seats.md': '# Seats\n\nRow seven has the best view of the stage.\n' };
  usher = await startUsher(
    usherFiles([], {
      assistants: {
        [model]: {},
        scripted: { spec: { pools: ['scripted'] } },
        reader: { knowledge },
        librarian: { spec: { pools: ['quoted'] }, knowledge },
      },
      config: {
        backends: [backend, own, { name: 'quoted', kind: 'knowledge' }],
        pools: [
          { name: 'default', backends: ['backend-0'] },
          { name: 'scripted', backends: ['backend-1'] },
          { name: 'quoted', backends: ['quoted'] },
        ],
      },
    }),
  );
  client = new OpenAI({
    baseURL: `${usher.url}/v1`,
    apiKey: usher.apiKey,
    maxRetries: 0,
    ...(spec === undefined ? {} : { fetch: spec.fetch }),
  });
});
afterAll(async () => {
  await usher?.stop();
  await scripted?.[Symbol.asyncDispose]();
  await simulator?.stop();
});
afterEach(async () => {
  expect((await spec?.violations()) ?? []).toEqual([]);
});

/** The body of the last request that a model got. */
async function asked(): Promise<{ messages: { role: string; content: unknown }[] } & Record<string, unknown>> {
  const { requests } = await simulator.log();
  return requests.at(-1)!.body as Awaited<ReturnType<typeof asked>>;
}

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of stream) all.push(each);
  return all;
}

async function eventsOf(body: Omit<OpenAI.Responses.ResponseCreateParamsStreaming, 'stream'>): Promise<StreamEvent[]> {
  return collect(await client.responses.create({ ...body, stream: true }));
}

const say = (content: string | Content) => [{ role: 'user' as const, content }];

describe('what is said reaches the model', () => {
  test('images, on both wires', async () => {
    await client.chat.completions.create({
      model,
      messages: say([
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: image, detail: 'low' } },
      ]),
    });
    const expected = [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url: image, detail: 'low' } },
    ];
    expect((await asked()).messages.at(-1)?.content).toEqual(expected);
    await client.responses.create({
      model,
      input: [
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'What is this?' },
            { type: 'input_image', image_url: image, detail: 'low' },
          ],
        },
      ],
    });
    expect((await asked()).messages.at(-1)?.content).toEqual(expected);
  });

  test('what the assistant said or would not say before, as it was answered, on both wires', async () => {
    const refused = '[[sim:refusal I would rather not.]]';
    const { message } = (await client.chat.completions.create({ model, messages: say(refused) })).choices[0]!;
    await client.chat.completions.create({ model, messages: [...say('Sing!'), message, ...say('Why?')] });
    const expected = [
      { role: 'user', content: 'Sing!' },
      { role: 'assistant', content: 'I would rather not.' },
      { role: 'user', content: 'Why?' },
    ];
    expect((await asked()).messages.slice(1)).toEqual(expected);
    const { output } = await client.responses.create({ model, input: refused });
    await client.responses.create({
      model,
      input: [{ role: 'user', content: 'Sing!' }, ...(output as []), { role: 'user', content: 'Why?' }],
    });
    expect((await asked()).messages.slice(1)).toEqual(expected);
  });

  test('who of several speaks, on Chat Completions', async () => {
    const messages = [
      { role: 'user' as const, name: 'ann', content: 'Row seven?' },
      { role: 'assistant' as const, name: 'usher', content: 'It is free.' },
      { role: 'user' as const, name: 'bob', content: [{ type: 'text' as const, text: 'Then mine. [[sim:say hi]]' }] },
      { role: 'user' as const, content: 'Or mine. [[sim:say hi]]' },
    ];
    const { id } = await client.chat.completions.create({ model, messages, store: true });
    const told = (await asked()).messages.slice(1) as { role: string; name?: string }[];
    expect(told.map(({ role, name }) => [role, name])).toEqual(messages.map(({ role, name }) => [role, name]));
    const { data } = await client.chat.completions.messages.list(id);
    expect(data.map((message) => (message as { name?: string }).name)).toEqual(['ann', 'usher', 'bob', undefined]);
  });

  test('every parameter, on both wires', async () => {
    const common = { temperature: 0.3, top_p: 0.8 };
    await client.chat.completions.create({
      model,
      messages: say('[[sim:say hi]]'),
      ...common,
      max_completion_tokens: 77,
      stop: ['END', 'STOP'],
      seed: 42,
      presence_penalty: 0.5,
      frequency_penalty: -0.5,
      reasoning_effort: 'low',
    });
    expect(await asked()).toMatchObject({
      ...common,
      max_tokens: 77,
      stop: ['END', 'STOP'],
      seed: 42,
      presence_penalty: 0.5,
      frequency_penalty: -0.5,
      reasoning_effort: 'low',
    });
    await client.responses.create({
      model,
      input: '[[sim:say hi]]',
      ...common,
      max_output_tokens: 78,
      reasoning: { effort: 'high' },
    });
    expect(await asked()).toMatchObject({ ...common, max_tokens: 78, reasoning_effort: 'high' });
  });

  test('the form of the answer, on both wires, for the client to parse', async () => {
    const form = { name: 'seat', schema, strict: true };
    const whole = await client.chat.completions.parse({
      model,
      messages: say('Which row?'),
      response_format: { type: 'json_schema', json_schema: form },
    });
    expect((await asked()).response_format).toEqual({ type: 'json_schema', json_schema: form });
    expect(whole.choices[0]?.message.parsed).toEqual({ row: expect.any(Number) });
    const parsed = await client.responses.parse({
      model,
      input: 'Which row?',
      text: { format: { type: 'json_schema', ...form } },
    });
    expect((await asked()).response_format).toEqual({ type: 'json_schema', json_schema: form });
    expect(parsed.output_parsed).toEqual({ row: expect.any(Number) });
    await client.responses.create({ model, input: 'Which row?', text: { format: { type: 'json_object' } } });
    expect((await asked()).response_format).toEqual({ type: 'json_object' });
  });

  test('instructions of the application follow those of the assistant, wherever they stand', async () => {
    await client.chat.completions.create({
      model,
      messages: [
        { role: 'user', content: 'Good evening' },
        { role: 'developer', content: 'Speak of seats.' },
        { role: 'assistant', content: 'Good evening!' },
        { role: 'user', content: '[[sim:say ok]]' },
        { role: 'system', content: 'Be brief.' },
      ],
    });
    const { messages } = await asked();
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user']);
    expect(messages[0]?.content).toMatch(/You lead guests[\s\S]*Speak of seats\.[\s\S]*Be brief\./);
  });

  test('instructions that a conversation holds stay instructions in every turn of it', async () => {
    const { id } = await client.conversations.create({
      items: [{ type: 'message', role: 'developer', content: 'Speak of seats.' }],
    });
    for (const word of ['one', 'two']) {
      await client.responses.create({ model, conversation: id, input: `[[sim:say ${word}]]` });
      const { messages } = await asked();
      expect(messages[0]?.content).toContain('Speak of seats.');
      expect(messages.slice(1).map(({ content }) => content)).not.toContain('Speak of seats.');
    }
  });

  test('fields that nobody knows are ignored', async () => {
    const odd = { model, input: '[[sim:say fine]]', telepathy: true, prompt_cache_key: 'x', include: [] };
    expect((await client.responses.create(odd)).output_text).toBe('fine');
    const chat = { model, messages: say('[[sim:say fine]]'), telepathy: true, logit_bias: {} };
    expect((await client.chat.completions.create(chat)).choices[0]?.message.content).toBe('fine');
  });
});

describe('tools', () => {
  const tools = [{ type: 'function' as const, ...seats }];
  const input = '[[sim:call seats {"row":7}]] [[sim:call seats {"row":8}]]';
  const callsOf = (response: OpenAI.Responses.Response) =>
    response.output.filter((item) => item.type === 'function_call');
  const resultsFor = (response: OpenAI.Responses.Response) =>
    callsOf(response).map(({ call_id }) => ({ type: 'function_call_output' as const, call_id, output: 'free' }));

  test('several calls of one answer, whole and streamed, and one at a time where that is asked for', async () => {
    const made = await client.responses.create({ model, input, tools });
    expect(callsOf(made).map((call) => call.arguments)).toEqual(['{"row":7}', '{"row":8}']);
    const events = await eventsOf({ model, input, tools });
    const done = events.filter((event) => event.type === 'response.function_call_arguments.done');
    expect(done.map((event) => [event.output_index, event.arguments])).toEqual([
      [0, '{"row":7}'],
      [1, '{"row":8}'],
    ]);
    expect(callsOf(await client.responses.create({ model, input, tools, parallel_tool_calls: false }))).toHaveLength(1);

    const chat = { model, messages: say(input), tools: [{ type: 'function' as const, function: seats }] };
    const final = await client.chat.completions.stream(chat).finalChatCompletion();
    expect(final.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { tool_calls: [{ function: { arguments: '{"row":7}' } }, { function: { arguments: '{"row":8}' } }] },
    });
    const ids = final.choices[0]!.message.tool_calls!.map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
  });

  test('stay apart where the model’s server mixes their pieces', async () => {
    const piece = (index: number, text: string, head: object = {}) => ({
      tool_calls: [{ index, ...head, function: { name: 'seats', arguments: text } }],
    });
    script = [
      piece(0, '', { id: 'call_a', type: 'function' }),
      piece(1, '{"ro', { id: 'call_b', type: 'function' }),
      piece(0, '{"row"'),
      piece(1, 'w":8}'),
      piece(0, ':7}'),
    ];
    const wanted = [
      ['call_a', '{"row":7}'],
      ['call_b', '{"row":8}'],
    ];
    const final = await client.responses.stream({ model: 'scripted', input: 'Hello', tools }).finalResponse();
    expect(callsOf(final).map((call) => [call.call_id, call.arguments])).toEqual(wanted);
    const functions = [{ type: 'function' as const, function: seats }];
    const chat = await client.chat.completions
      .stream({ model: 'scripted', messages: say('Hello'), tools: functions })
      .finalChatCompletion();
    const calls = chat.choices[0]?.message.tool_calls ?? [];
    expect(calls.map((call) => [call.id, call.type === 'function' && call.function.arguments])).toEqual(wanted);
  });

  test('results follow their calls by previous_response_id', async () => {
    const first = await client.responses.create({ model, input, tools });
    const next = await client.responses.create({
      model,
      tools,
      previous_response_id: first.id,
      input: resultsFor(first),
    });
    expect(next.output[0]).toMatchObject({ type: 'message', status: 'completed' });
    expect(next.previous_response_id).toBe(first.id);
    const { messages } = await asked();
    expect(messages.slice(-4)).toMatchObject([
      { role: 'user' },
      { role: 'assistant', tool_calls: [{ function: { name: 'seats' } }, { function: { name: 'seats' } }] },
      { role: 'tool', content: 'free' },
      { role: 'tool', content: 'free' },
    ]);
  });

  test('what the model knows of the question stays before it when the results come', async () => {
    await simulator.clear();
    const asking = { model: 'reader', tools, input: `Row seven? ${input}` };
    const first = await client.responses.create(asking);
    const known = (await asked()).messages;
    expect(JSON.stringify(known)).toContain('best view of the stage');
    await client.responses.create({ ...asking, previous_response_id: first.id, input: resultsFor(first) });
    expect((await asked()).messages.slice(0, known.length)).toEqual(known);
  });

  test('and by conversation, named as text or as an object', async () => {
    const { id } = await client.conversations.create();
    const first = await client.responses.create({ model, input, tools, conversation: { id } });
    expect(first.conversation).toEqual({ id });
    const next = await client.responses.create({ model, tools, conversation: id, input: resultsFor(first) });
    expect(next.output[0]).toMatchObject({ type: 'message' });
    const { data } = await client.conversations.items.list(id, { order: 'asc' });
    expect(data.map(({ type }) => type)).toEqual([
      'message',
      'function_call',
      'function_call',
      'function_call_output',
      'function_call_output',
      'message',
    ]);
  });

  test('a client may also send back what it was answered, as it is', async () => {
    const first = await client.responses.create({ model, input, tools, store: false });
    const next = await client.responses.create({
      model,
      tools,
      store: false,
      input: [{ role: 'user', content: input }, ...(first.output as []), ...resultsFor(first)],
    });
    expect(next.output_text).not.toBe('');
  });

  test('a choice of tool is passed on', async () => {
    const forced = { type: 'function' as const, name: 'seats' };
    const made = await client.responses.create({ model, input: 'Hello', tools, tool_choice: forced });
    expect((await asked()).tool_choice).toEqual({ type: 'function', function: { name: 'seats' } });
    expect(callsOf(made)).toHaveLength(1);
    await client.responses.create({ model, input: 'Hello', tools, tool_choice: 'none' });
    expect((await asked()).tool_choice).toBe('none');
  });
});

describe('how an answer ends', () => {
  test('at its longest: incomplete, and so in what is stored', async () => {
    const made = await client.responses.create({ model, input: '[[sim:tokens 50]]', max_output_tokens: 16 });
    expect(made).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ status: 'incomplete' }],
      completed_at: null,
    });
    expect(await client.responses.retrieve(made.id)).toEqual(made);
    const events = await eventsOf({ model, input: '[[sim:tokens 50]]', max_output_tokens: 16 });
    expect(events.at(-1)?.type).toBe('response.incomplete');
  });

  test('by a filter', async () => {
    const input = '[[sim:filtered]] [[sim:say Hm]]';
    const made = await client.responses.create({ model, input });
    expect(made).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'content_filter' } });
    const chat = await client.chat.completions.create({ model, messages: say(input) });
    expect(chat.choices[0]?.finish_reason).toBe('content_filter');
  });

  test('with a refusal, on both wires', async () => {
    const input = '[[sim:refusal I would rather not.]]';
    const chat = await client.chat.completions.create({ model, messages: say(input) });
    expect(chat.choices[0]?.message).toMatchObject({ content: null, refusal: 'I would rather not.' });
    const final = await client.chat.completions.stream({ model, messages: say(input) }).finalChatCompletion();
    expect(final.choices[0]?.message.refusal).toBe('I would rather not.');
    const made = await client.responses.create({ model, input });
    expect(made.output).toMatchObject([{ content: [{ type: 'refusal', refusal: 'I would rather not.' }] }]);
    expect(await client.responses.retrieve(made.id)).toEqual(made);
    const types = (await eventsOf({ model, input })).map(({ type }) => type);
    expect(types).toContain('response.refusal.done');
  });

  test('with nothing at all', async () => {
    const input = '[[sim:tokens 0]]';
    expect(await client.responses.create({ model, input })).toMatchObject({ status: 'completed', output_text: '' });
    expect((await eventsOf({ model, input })).map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.completed',
    ]);
    const chat = await client.chat.completions.stream({ model, messages: say(input) }).finalChatCompletion();
    expect(chat.choices[0]).toMatchObject({ finish_reason: 'stop', message: { role: 'assistant' } });
  });
});

describe('streams', () => {
  test('tell each thing in its order, numbered without gaps', async () => {
    const events = await eventsOf({ model, input: '[[sim:tokens 3]]' });
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    expect(events.map((event) => event.sequence_number)).toEqual(events.map((_, index) => index));
  });

  test('name the sources of what is quoted, as the whole answer does', async () => {
    const input = 'Which row has the best view?';
    const events = await eventsOf({ model: 'librarian', input });
    const cited = events.filter((event) => event.type === 'response.output_text.annotation.added');
    expect(cited.length).toBeGreaterThan(0);
    expect(cited.map((event) => event.annotation_index)).toEqual(cited.map((_, index) => index));
    const last = events.at(-1);
    const [message] = last?.type === 'response.completed' ? last.response.output : [];
    const [part] = message?.type === 'message' ? message.content : [];
    expect(part?.type === 'output_text' && part.annotations).toEqual(cited.map((event) => event.annotation));
  });

  test('have usage in a last chunk where it is asked for, and nowhere else', async () => {
    const body = { model, messages: say('[[sim:tokens 3]]'), stream: true as const };
    const plain = await collect(await client.chat.completions.create(body));
    expect(plain.every((chunk) => chunk.usage === undefined && chunk.choices.length === 1)).toBe(true);
    const counted = await collect(
      await client.chat.completions.create({ ...body, stream_options: { include_usage: true } }),
    );
    expect(counted.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    expect(counted.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
  });

  test('keep every letter, wherever the model’s bytes and tokens are split', async () => {
    const text = 'Grüße 👩‍👩‍👧‍👦 aus Zürich 🎭 — 劇場は七時に開く';
    await simulator.plan({ say: text, slice: { max: 1 } });
    const final = await client.responses.stream({ model, input: 'Hello' }).finalResponse();
    expect(final.output_text).toBe(text);
    expect((await client.responses.retrieve(final.id)).output_text).toBe(text);

    // Some servers split a token between the halves of one letter.
    script = ['The play: ', '\uD83C', '\uDFAD', '!'].map((content) => ({ content }));
    const whole = await client.chat.completions.create({ model: 'scripted', messages: say('Hello') });
    expect(whole.choices[0]?.message.content).toBe('The play: 🎭!');
    const streamed = await client.responses.stream({ model: 'scripted', input: 'Hello' }).finalResponse();
    expect(streamed.output_text).toBe('The play: 🎭!');
    expect((await client.responses.retrieve(streamed.id)).output_text).toBe('The play: 🎭!');
  });

  test('carry a token of any length', async () => {
    const long = 'x'.repeat(300_000);
    script = [{ content: long }, { content: 'y' }];
    const final = await client.responses.stream({ model: 'scripted', input: 'Hello' }).finalResponse();
    expect(final.output_text).toBe(`${long}y`);
    const chat = client.chat.completions.stream({ model: 'scripted', messages: say('Hello') });
    expect(await chat.finalContent()).toBe(`${long}y`);
  });
});

describe('what is stored', () => {
  test('a stored completion can be read as a response', async () => {
    const asking = { model, messages: say('[[sim:say Row seven]]'), store: true, metadata: { seat: '7' } };
    const { id } = await client.chat.completions.create(asking);
    const read = await client.responses.retrieve(id.replace('chatcmpl-', 'resp_'));
    expect(read).toMatchObject({ output_text: 'Row seven', metadata: { seat: '7' }, conversation: null });
  });

  test('a response that is deleted is gone, with what was said', async () => {
    const { id } = await client.responses.create({ model, input: '[[sim:say hi]]' });
    await client.responses.delete(id);
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
    await expect(client.responses.inputItems.list(id)).rejects.toMatchObject({ status: 404 });
    const following = client.responses.create({ model, input: 'hi', previous_response_id: id });
    await expect(following).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
    });
  });
});

describe('metadata', () => {
  test('is taken away again by null', async () => {
    const metadata = { topic: 'seats' };
    const { id } = await client.conversations.create({ metadata });
    expect(await client.conversations.update(id, { metadata: null })).toMatchObject({ id, metadata: {} });
    expect((await client.conversations.retrieve(id)).metadata).toEqual({});
    const messages = [{ role: 'user' as const, content: '[[sim:say hi]]' }];
    const stored = await client.chat.completions.create({ model, messages, store: true, metadata });
    expect(await client.chat.completions.update(stored.id, { metadata: null })).toMatchObject({ metadata: {} });
  });
});

describe('lists', () => {
  test('come page by page, in either order', async () => {
    const texts = Array.from({ length: 7 }, (_, index) => `item ${index}`);
    const items = texts.map((content) => ({ type: 'message' as const, role: 'user' as const, content }));
    const { id } = await client.conversations.create({ items });
    const textOf = (item: OpenAI.Conversations.ConversationItem): string => {
      const [part] = item.type === 'message' ? item.content : [];
      return part?.type === 'input_text' ? part.text : '';
    };
    const page = await client.conversations.items.list(id, { limit: 3, order: 'asc' });
    expect(page.data.map(textOf)).toEqual(texts.slice(0, 3));
    expect(page.has_more).toBe(true);
    const rest = await client.conversations.items.list(id, { order: 'asc', after: page.last_id });
    expect(rest.data.map(textOf)).toEqual(texts.slice(3));
    expect(rest.has_more).toBe(false);
    for (const order of ['asc', 'desc'] as const) {
      const all = await collect(client.conversations.items.list(id, { limit: 2, order }));
      expect(all.map(textOf)).toEqual(order === 'asc' ? texts : texts.toReversed());
    }
    const made = await client.responses.create({
      model,
      input: [...items, { role: 'user', content: '[[sim:say hi]]' }],
    });
    const said = await collect(client.responses.inputItems.list(made.id, { limit: 3, order: 'asc' }));
    expect(said).toHaveLength(8);
  });

  test('say where they cannot go on: what was the last item is deleted, or was never there', async () => {
    const items = ['one', 'two', 'three'].map((content) => ({
      type: 'message' as const,
      role: 'user' as const,
      content,
    }));
    const { id } = await client.conversations.create();
    const made = await client.responses.create({ model, conversation: id, input: items });
    const messages = [{ role: 'user' as const, content: '[[sim:say hi]]' }];
    const stored = await client.chat.completions.create({ model, messages, store: true });
    const gone = { status: 404, param: 'after', code: 'not_found' };
    const page = await client.conversations.items.list(id, { limit: 1, order: 'asc' });
    await client.conversations.items.delete(page.last_id, { conversation_id: id });
    for (const after of [page.last_id, 'msg_nowhere']) {
      await expect(client.conversations.items.list(id, { order: 'asc', after })).rejects.toMatchObject(gone);
      await expect(client.responses.inputItems.list(made.id, { order: 'asc', after })).rejects.toMatchObject(gone);
      await expect(client.chat.completions.messages.list(stored.id, { after })).rejects.toMatchObject(gone);
    }
    const deleted = await client.chat.completions.create({ model, messages, store: true });
    await client.chat.completions.delete(deleted.id);
    await expect(client.chat.completions.list({ after: deleted.id })).rejects.toMatchObject(gone);
    const { data } = await client.conversations.items.list(id, { order: 'asc' });
    const end = await client.conversations.items.list(id, { order: 'asc', after: data.at(-1)!.id! });
    expect(end).toMatchObject({ data: [], has_more: false });
  });

  test('refuse a limit that is out of bounds', async () => {
    const { id } = await client.conversations.create();
    for (const limit of [0, 101]) {
      await expect(client.conversations.items.list(id, { limit })).rejects.toMatchObject({
        status: 400,
        param: 'limit',
      });
    }
  });
});

describe('a person with a token of their own', () => {
  test('sees the one assistant that it is for, and learns of no other', async () => {
    const minted = await client.withOptions({ fetch }).post<{ token: string }>('/user_tokens', {
      body: { assistant: model, subject: 'ophelia' },
    });
    const person = client.withOptions({ apiKey: minted.token });
    expect((await collect(person.models.list())).map(({ id }) => id)).toEqual([model, `${model}@production`]);
    expect((await person.models.retrieve(`${model}@production`)).id).toBe(`${model}@production`);
    for (const name of ['scripte', 'scripted', 'librarian@production']) {
      const refused = person.models.retrieve(name);
      await expect(refused).rejects.toMatchObject({ status: 404, error: { message: 'There is no such model.' } });
    }
    const asking = { model, input: '[[sim:say Good evening]]' };
    const made = await person.responses.create(asking);
    expect((await person.responses.retrieve(made.id)).output_text).toBe('Good evening');
    await expect(person.responses.create({ ...asking, temperature: 1 })).rejects.toMatchObject({ status: 403 });
  });
});

describe('metadata', () => {
  test('is given back within its limits and refused beyond them', async () => {
    const full = Object.fromEntries(
      Array.from({ length: 16 }, (_, index) => [`${index}`.padEnd(64, 'k'), 'v'.repeat(512)]),
    );
    const made = await client.responses.create({ model, input: '[[sim:say hi]]', metadata: full });
    expect((await client.responses.retrieve(made.id)).metadata).toEqual(full);
    const { id } = await client.conversations.create({ metadata: full });
    expect((await client.conversations.retrieve(id)).metadata).toEqual(full);
    for (const metadata of [{ ...full, more: '' }, { ['k'.repeat(65)]: '' }, { k: 'v'.repeat(513) }]) {
      await expect(client.responses.create({ model, input: 'hi', metadata })).rejects.toMatchObject({ status: 400 });
      await expect(client.conversations.update(id, { metadata })).rejects.toMatchObject({ status: 400 });
    }
  });
});
