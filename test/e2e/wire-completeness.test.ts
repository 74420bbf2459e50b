import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, plain } from '#test/response-oracle';
import { scriptedBackend, streamHead } from '#test/scripted-backend';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
const model = 'helper';
const ask = (content: string) => [{ role: 'user' as const, content }];

beforeAll(async () => {
  simulator = await startModelSimulator();
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

describe('a chat completion', () => {
  test('gives as many choices as are asked for, and counts the tokens of all', async () => {
    const one = await client.chat.completions.create({ model, messages: ask('[[sim:say Yes]]') });
    const three = await client.chat.completions.create({ model, messages: ask('[[sim:say Yes]]'), n: 3 });
    expect(three.choices.map(({ index, message }) => [index, message.content])).toEqual([
      [0, 'Yes'],
      [1, 'Yes'],
      [2, 'Yes'],
    ]);
    expect(three.usage?.completion_tokens).toBe(3 * one.usage!.completion_tokens);
    const stored = client.chat.completions.create({ model, messages: ask('x'), n: 2, store: true });
    await expect(stored).rejects.toMatchObject({ status: 400, param: 'n' });
  });

  test('stops its other choices where one fails', async () => {
    await simulator.plan({ fault: { kind: 'status', status: 400 } });
    for (let choice = 0; choice < 2; choice += 1) await simulator.plan({ tokens: 1000, tokenMs: 10 });
    const asked = client.chat.completions.create({ model, messages: ask('go on'), n: 3 });
    await expect(asked).rejects.toMatchObject({ status: 400 });
    // Whole they would take ten seconds, which is longer than is waited for here.
    await simulator.until((log) => log.totals.active === 0);
    expect((await simulator.log()).requests.every(({ end, tokens }) => end !== 'done' || tokens < 1000)).toBe(true);
  });

  test('passes on what it does not know, and never what is its own to say', async () => {
    const body = { model, messages: ask('[[sim:say Hm]]'), logit_bias: { 50256: -100 }, min_p: 0.05, verbosity: 'low' };
    await client.chat.completions.create(body as OpenAI.ChatCompletionCreateParamsNonStreaming);
    const { requests } = await simulator.log();
    expect(requests.at(-1)?.body).toMatchObject({
      model: 'simulated',
      stream: true,
      logit_bias: { 50256: -100 },
      min_p: 0.05,
      verbosity: 'low',
    });
  });

  test('gives log probabilities as the model server told them, whole and in chunks', async () => {
    const token = (text: string) => ({ token: text, logprob: -0.5, bytes: null, top_logprobs: [] });
    let asked: unknown;
    await using server = await scriptedBackend((request, response) => {
      asked = request.body;
      streamHead(response);
      for (const text of ['Row', ' seven']) {
        const choice = {
          index: 0,
          delta: { content: text },
          logprobs: { content: [token(text)] },
          finish_reason: null,
        };
        response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`);
      }
      response.end(
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\ndata: [DONE]\n\n`,
      );
    });
    await using other = await startUsher(usherFiles([server.url], { assistants: { [model]: {} } }));
    const probing = new OpenAI({ baseURL: `${other.url}/v1`, apiKey: other.apiKey, maxRetries: 0 });
    const body = { model, messages: ask('where?'), logprobs: true, top_logprobs: 2 };
    const made = await probing.chat.completions.create(body);
    expect(asked).toMatchObject({ logprobs: true, top_logprobs: 2 });
    expect(made.choices[0]?.logprobs?.content?.map((one) => one.token)).toEqual(['Row', ' seven']);
    const told: string[] = [];
    for await (const chunk of await probing.chat.completions.create({ ...body, stream: true })) {
      for (const one of chunk.choices[0]?.logprobs?.content ?? []) told.push(one.token);
    }
    expect(told).toEqual(['Row', ' seven']);
  });
});

describe('the tokens of an input', () => {
  test('are counted with all that a turn would put before the model, without a model and without a trace', async () => {
    const before = (await simulator.log()).requests.length;
    const count = async (body: object) =>
      (await client.post<{ object: string; input_tokens: number }>('/responses/input_tokens', { body })).input_tokens;
    const short = await count({ model, input: 'Where is row seven?' });
    const long = await count({ model, input: 'Where is row seven? '.repeat(50) });
    expect(short).toBeGreaterThan(5);
    expect(long).toBeGreaterThan(short + 150);
    const { id: conversation } = await client.conversations.create({
      items: [{ type: 'message', role: 'user', content: 'Before. '.repeat(100) }],
    });
    expect(await count({ model, conversation, input: 'Where is row seven?' })).toBeGreaterThan(short + 150);
    expect((await simulator.log()).requests.length).toBe(before);
    expect((await client.conversations.items.list(conversation)).data).toHaveLength(1);
  });

  test('are counted of nothing new too, and of the assistant that answered before', async () => {
    const count = async (body: OpenAI.Responses.InputTokenCountParams) =>
      (await client.responses.inputTokens.count(body)).input_tokens;
    const instructions = await count({ model, input: null });
    expect(instructions).toBeGreaterThan(0);
    expect(await count({ model })).toBe(instructions);
    const { id: conversation } = await client.conversations.create();
    const { id } = await client.responses.create({ model, conversation, input: 'Where? [[sim:say There.]]' });
    const after = await count({ conversation });
    expect(after).toBeGreaterThan(instructions);
    expect(await count({ model, conversation, input: null })).toBe(after);
    expect(await count({ model: null, previous_response_id: id })).toBe(after);
    await expect(count({ input: 'Where?' })).rejects.toMatchObject({ status: 400, param: 'model' });
  });
});

describe('what the description of OpenAI has', () => {
  const asked = async () => (await simulator.log()).requests.at(-1)!.body as Record<string, unknown>;
  const image = 'data:image/png;base64,AAAA';

  test('a reference without its type stands for its item', async () => {
    const { output } = await client.responses.create({ model, input: '[[sim:say Row seven.]]' });
    for (const type of [undefined, null]) {
      const input = [
        { id: output[0]!.id, type },
        { role: 'user' as const, content: 'So? [[sim:say Yes]]' },
      ];
      await client.responses.create({ model, input: input as OpenAI.Responses.ResponseInput });
      expect(JSON.stringify((await asked())['messages'])).toContain('Row seven.');
    }
    const { id } = await client.conversations.create();
    const items = [{ id: output[0]!.id }] as OpenAI.Responses.ResponseInputItem[];
    const { data } = await client.conversations.items.create(id, { items });
    expect(data).toMatchObject([{ type: 'message', role: 'assistant' }]);
  });

  test('an image as it is, which servers of the model look at as closely as they can', async () => {
    const content = [{ type: 'input_image' as const, image_url: image, detail: 'original' as const }];
    const { id } = await client.responses.create({ model, input: [{ role: 'user', content }] });
    expect((await asked())['messages']).toMatchObject([
      {},
      { content: [{ image_url: { url: image, detail: 'high' } }] },
    ]);
    expect((await client.responses.inputItems.list(id)).data).toMatchObject([{ content: [{ detail: 'original' }] }]);
  });

  test('images and files that functions returned, which the model sees after what all of them returned', async () => {
    const call = (call_id: string) => ({ type: 'function_call' as const, call_id, name: 'look', arguments: '{}' });
    const file = { type: 'input_file' as const, filename: 'a.txt', file_data: 'data:text/plain,Row%20seven' };
    const shown = { type: 'input_image' as const, image_url: image, detail: 'low' as const };
    const output = [{ type: 'input_text' as const, text: 'A plan: ' }, shown, file];
    const results = [
      { type: 'function_call_output' as const, call_id: 'one', output },
      { type: 'function_call_output' as const, call_id: 'two', output: 'Nothing.' },
    ];
    const input = [{ role: 'user' as const, content: 'Look. [[sim:say ok]]' }, call('one'), call('two'), ...results];
    const { id } = await client.responses.create({ model, input });
    const messages = (await asked())['messages'] as { role: string }[];
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool', 'tool', 'user']);
    expect(messages[3]).toMatchObject({ tool_call_id: 'one', content: 'A plan: Row seven' });
    expect(messages[5]).toMatchObject({ content: [{ type: 'text' }, { image_url: { url: image, detail: 'low' } }] });
    const { data } = await client.responses.inputItems.list(id, { order: 'asc' });
    const kept = [{ type: 'input_text', text: 'A plan: Row seven' }, shown];
    expect(data[3]).toMatchObject({ type: 'function_call_output', call_id: 'one', output: kept });
    await client.responses.create({ model, previous_response_id: id, input: 'And now? [[sim:say ok]]' });
    expect(((await asked())['messages'] as { role: string }[]).map(({ role }) => role).slice(4)).toEqual([
      'tool',
      'user',
      'assistant',
      'user',
    ]);
  });

  test('the tools that alone may be called, among those that are given', async () => {
    const named = ['one', 'two', 'three'].map((name) => ({ name, parameters: {}, strict: false }));
    const tools = named.map((each) => ({ type: 'function' as const, ...each }));
    const allowed = [
      { type: 'function', name: 'one' },
      { type: 'function', name: 'three' },
    ];
    const tool_choice = { type: 'allowed_tools' as const, mode: 'required' as const, tools: allowed };
    const made = await client.responses.create({ model, input: '[[sim:say ok]]', tools, tool_choice });
    expect(made).toMatchObject({ tool_choice, tools: [{ name: 'one' }, { name: 'two' }, { name: 'three' }] });
    const wanted = [{ function: { name: 'one' } }, { function: { name: 'three' } }];
    expect(await asked()).toMatchObject({ tool_choice: 'required', tools: wanted });
    await client.chat.completions.create({
      model,
      messages: ask('[[sim:say ok]]'),
      tools: named.map((each) => ({ type: 'function', function: each })),
      tool_choice: {
        type: 'allowed_tools',
        allowed_tools: { mode: 'auto', tools: wanted.map((each) => ({ type: 'function', ...each })) },
      },
    });
    expect(await asked()).toMatchObject({ tool_choice: 'auto', tools: wanted });
    const unknown = { ...tool_choice, tools: [{ type: 'function', name: 'four' }] };
    await expect(client.responses.create({ model, input: 'x', tools, tool_choice: unknown })).rejects.toMatchObject({
      status: 400,
      param: 'tool_choice',
    });
  });

  test('a seed as large as they come, and a form of the answer without its schema', async () => {
    const messages = ask('[[sim:say {}]]');
    for (const seed of [2 ** 63 - 1, -(2 ** 63)]) {
      await client.chat.completions.create({ model, messages, seed });
      expect(Number.isSafeInteger((await asked())['seed'])).toBe(true);
    }
    const response_format = { type: 'json_schema' as const, json_schema: { name: 'seat' } };
    const { choices } = await client.chat.completions.create({ model, messages, response_format });
    expect(choices[0]?.message.content).toBe('{}');
  });
});

test('a conversation is compacted by the assistant that answered before, where no model is named', async () => {
  const { id } = await client.responses.create({ model, input: 'Where? [[sim:say There.]]' });
  const compacted = await client.responses.compact({ model: null, previous_response_id: id });
  expect(compacted.output.map(({ type }) => type)).toEqual(['message', 'compaction']);
});

describe('an answer of a format', () => {
  const schema = {
    type: 'object',
    properties: { row: { type: 'integer' } },
    required: ['row'],
    additionalProperties: false,
  };
  const text = { format: { type: 'json_schema' as const, name: 'seat', schema, strict: true } };

  test('that does not hold is mended once, told as begun anew, and counted twice', async () => {
    await simulator.plan({ say: '{"row":"seven"}' });
    await simulator.plan({ say: '{"row":7}' });
    const events = await heard(await client.responses.create({ model, input: 'where?', text, stream: true }));
    const final = await accumulated(events);
    expect(final).toMatchObject({ status: 'completed', output: [{ status: 'completed' }] });
    expect(final.output_text).toBe('{"row":7}');
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    const { requests } = await simulator.log();
    expect(JSON.stringify(requests.at(-1)?.body)).toContain('does not keep to the format');
  });

  test('that does not hold twice fails, and says so without its content', async () => {
    for (let round = 0; round < 2; round += 1) await simulator.plan({ say: '{"secret name":"secret"}' });
    const events = await heard(await client.responses.create({ model, input: 'where?', text, stream: true }));
    const final = await accumulated(events);
    expect(final.status).toBe('failed');
    expect(final.error?.message).toContain('does not keep to the format');
    expect(final.error?.message).not.toContain('secret');
  });

  test('whose check would never end is left to the model server, and holds nobody up', async () => {
    const self = { $ref: '#' };
    const doubling = { type: 'object', allOf: [{ properties: { n: self } }, { properties: { n: self } }] };
    const say = JSON.stringify(Array.from({ length: 60 }).reduce<object>((n) => ({ n }), {}));
    await simulator.plan({ say });
    const format = { type: 'json_schema' as const, name: 'tree', schema: doubling };
    const made = await client.responses.create({ model, input: 'a tree?', text: { format } });
    expect(made.output_text).toBe(say);
    expect(await (await fetch(`${usher.url}/livez`)).text()).toContain('ok');
  });

  test('is mended on Chat Completions too', async () => {
    await simulator.plan({ say: 'Row seven' });
    await simulator.plan({ say: '{"a":1}' });
    const made = await client.chat.completions.create({
      model,
      messages: ask('where?'),
      response_format: { type: 'json_object' },
    });
    expect(made.choices[0]?.message.content).toBe('{"a":1}');
  });
});
