import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const model = 'helper';
const user = (content: string) => ({ role: 'user' as const, content });

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();

beforeAll(async () => {
  simulator = await startModelSimulator();
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
  client = clientOf(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

async function asked(): Promise<{ messages: object[] } & Record<string, unknown>> {
  const { requests } = await simulator.log();
  return requests.at(-1)!.body as Awaited<ReturnType<typeof asked>>;
}

async function chunksOf(body: Omit<OpenAI.ChatCompletionCreateParamsStreaming, 'stream'>) {
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) chunks.push(chunk);
  return chunks;
}

describe('several choices of one stream', () => {
  const messages = [user('[[sim:say Row seven is free]]')];

  test('come together, each chunk with the index of its choice, under one id', async () => {
    const body = { model, messages, n: 3, stream_options: { include_usage: true } };
    const chunks = await chunksOf(body);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    const told = chunks.flatMap(({ choices }) => choices);
    for (const index of [0, 1, 2]) {
      const own = told.filter((choice) => choice.index === index);
      expect(own.map(({ delta }) => delta.content ?? '').join('')).toBe('Row seven is free');
      expect(own.map(({ finish_reason: finish }) => finish).filter((finish) => finish !== null)).toEqual(['stop']);
      expect(own[0]?.delta.role).toBe('assistant');
    }
    const usages = chunks.flatMap(({ usage }) => usage ?? []);
    const whole = await client.chat.completions.create({ model, messages, n: 3 });
    expect(usages).toHaveLength(1);
    expect(usages[0]?.completion_tokens).toBe(whole.usage?.completion_tokens);
    const final = await client.chat.completions.stream({ model, messages, n: 2 }).finalChatCompletion();
    expect(final.choices.map(({ message }) => message.content)).toEqual(['Row seven is free', 'Row seven is free']);
  });

  test('do not wait for one another', async () => {
    await simulator.planAll('[[sim:say Row seven is free]] [[sim:stall after=1]]');
    const begun = new Set<number>();
    let text = '';
    for await (const { choices } of await client.chat.completions.create({
      model,
      messages: [user('x')],
      n: 2,
      stream: true,
    })) {
      for (const { index, delta } of choices) {
        if ((delta.content ?? '') === '') continue;
        begun.add(index);
        text += delta.content;
      }
      if (begun.size === 2) await simulator.control({ do: 'release' });
    }
    expect(text).toHaveLength(2 * 'Row seven is free'.length);
  });

  test('break together: the stream is torn, and the others are stopped', async () => {
    await simulator.plan('[[sim:cut after=2]] [[sim:tokens 10]]');
    for (let choice = 0; choice < 2; choice += 1) await simulator.plan({ tokens: 1000, tokenMs: 10 });
    await using other = await startUsher(
      usherFiles([simulator.baseUrl], { assistants: { [model]: { spec: { turns: { rescue: 'fail' } } } } }),
    );
    const failing = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: other.apiKey, maxRetries: 0 });
    const hear = async (): Promise<void> => {
      const stream = await failing.chat.completions.create({ model, messages: [user('Go on')], n: 3, stream: true });
      for await (const _ of stream);
    };
    await expect(hear()).rejects.toThrow();
    // Whole they would take ten seconds, which is longer than is waited for here.
    await simulator.until((log) => log.totals.active === 0);
  });
});

describe('functions by their older name', () => {
  const seats = { name: 'seats', description: 'Free seats', parameters: { type: 'object', properties: {} } };
  const question = user('[[sim:call seats {"row":7}]] [[sim:say Free]]');
  const called = { name: 'seats', arguments: '{"row":7}' };
  const body = { model, functions: [seats], messages: [question] };

  test('are asked for as tools, and answered by their older name, whole and in chunks', async () => {
    const { message, finish_reason: finish } = (await client.chat.completions.create(body)).choices[0]!;
    expect(await asked()).toMatchObject({ tools: [{ type: 'function', function: seats }], parallel_tool_calls: false });
    expect(await asked()).not.toHaveProperty('functions');
    expect([finish, message.function_call, message.content]).toEqual(['function_call', called, null]);
    expect(message).not.toHaveProperty('tool_calls');
    const told = (await chunksOf(body)).flatMap(({ choices }) => choices);
    expect(told.map(({ delta }) => delta.function_call?.arguments ?? '').join('')).toBe('{"row":7}');
    expect(told.flatMap(({ delta }) => delta.function_call?.name ?? [])).toEqual(['seats']);
    expect(told.at(-1)?.finish_reason).toBe('function_call');
  });

  test('give their results by name', async () => {
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      question,
      { role: 'assistant', content: null, function_call: called },
      { role: 'function', name: 'seats', content: 'free' },
    ];
    const { choices } = await client.chat.completions.create({ ...body, messages });
    expect(choices[0]?.message.content).toBe('Free');
    const { messages: put } = await asked();
    const [call, result] = put.slice(-2) as [{ tool_calls: { id: string }[] }, { tool_call_id: string }];
    expect(call).toMatchObject({ role: 'assistant', tool_calls: [{ type: 'function', function: called }] });
    expect(result).toMatchObject({ role: 'tool', content: 'free', tool_call_id: call.tool_calls[0]!.id });
    const lost = client.chat.completions.create({ ...body, messages: [question, messages[2]!] });
    await expect(lost).rejects.toMatchObject({ status: 400, param: 'messages' });
  });

  test('may be chosen, and not beside tools', async () => {
    const hello = [user('Hello')];
    const forced = await client.chat.completions.create({ ...body, messages: hello, function_call: { name: 'seats' } });
    expect((await asked())['tool_choice']).toEqual({ type: 'function', function: { name: 'seats' } });
    expect(forced.choices[0]?.message.function_call?.name).toBe('seats');
    await client.chat.completions.create({ ...body, messages: hello, function_call: 'none' });
    expect((await asked())['tool_choice']).toBe('none');
    const both = client.chat.completions.create({ ...body, tools: [{ type: 'function', function: seats }] });
    await expect(both).rejects.toMatchObject({ status: 400, param: 'functions' });
  });
});
