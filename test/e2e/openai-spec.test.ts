import OpenAI, { APIError } from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { hasOpenAiSpec, openAiSpecPath, openOpenAiSpec, type OpenAiSpec } from '#test/openai-spec';
import { scriptedBackend, streamHead } from '#test/scripted-backend';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const title = hasOpenAiSpec
  ? 'every answer is as OpenAI describes its API'
  : `every answer is as OpenAI describes its API (skipped: no ${openAiSpecPath}; name one by USHER_OPENAI_SPEC)`;

describe.skipIf(!hasOpenAiSpec)(title, () => {
  let simulator: ModelSimulator;
  let usher: UsherProcess;
  let spec: OpenAiSpec;
  let client: OpenAI;
  const model = 'helper';
  const tool = {
    name: 'seats',
    description: 'Free seats',
    parameters: { type: 'object', properties: {} },
    strict: false,
  };

  beforeAll(async () => {
    spec = openOpenAiSpec();
    simulator = await startModelSimulator();
    usher = await startUsher(
      usherFiles([simulator.baseUrl], {
        assistants: { [model]: { spec: { turns: { rescue: 'fail' } } } },
        config: { embeddings: [{ name: 'vectors', kind: 'openai-compatible', url: simulator.baseUrl }] },
      }),
    );
    client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0, fetch: spec.fetch });
  });
  afterAll(async () => {
    await usher?.stop();
    await simulator?.stop();
  });
  afterEach(async () => {
    expect(await spec.violations()).toEqual([]);
  });

  const ask = (content: string) => [{ role: 'user' as const, content }];

  /** What an answer may come to, each as commands of the simulator. */
  const answers: readonly (readonly [string, string])[] = [
    ['text', '[[sim:say Good evening]]'],
    ['refusal', '[[sim:refusal I would rather not.]]'],
    ['calls', '[[sim:call seats {"row":7}]] [[sim:call seats {"row":8}]]'],
    ['length', '[[sim:tokens 50]]'],
    ['filtered', '[[sim:filtered]] [[sim:say Hm]]'],
    ['empty', '[[sim:tokens 0]]'],
  ];

  test.each(answers)('Chat Completions, whole and in chunks: %s', async (name, content) => {
    const limit = name === 'length' ? { max_completion_tokens: 5 } : {};
    const body = { model, messages: ask(content), tools: [{ type: 'function' as const, function: tool }], ...limit };
    await client.chat.completions.create({ ...body, store: true, metadata: { a: 'b' } });
    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    for await (const _ of stream);
    for await (const _ of await client.chat.completions.create({ ...body, stream: true }));
  });

  test.each(answers)('Responses, created, streamed, retrieved and deleted: %s', async (name, input) => {
    const limit = name === 'length' ? { max_output_tokens: 16 } : {};
    const body = { model, input, tools: [{ type: 'function' as const, ...tool }], metadata: { a: 'b' }, ...limit };
    const made = await client.responses.create(body);
    await client.responses.retrieve(made.id);
    await client.responses.inputItems.list(made.id);
    await client.post('/responses/input_tokens', { body });
    for await (const _ of await client.responses.retrieve(made.id, { stream: true }));
    await client.responses.delete(made.id);
    for await (const _ of await client.responses.create({ ...body, stream: true }));
    await client.responses.create({ ...body, store: false });
  });

  test('a conversation that is compacted, on its way and on demand', async () => {
    const said = { role: 'user' as const, content: 'Row seven. '.repeat(500) };
    const reply = { role: 'assistant' as const, content: 'Noted.' };
    const input = [said, reply, { role: 'user' as const, content: 'Well?' }];
    const body = { model, input, context_management: [{ type: 'compaction', compact_threshold: 1000 }] };
    const { id: conversation } = await client.conversations.create();
    const made = await client.responses.create({ ...body, conversation });
    expect(made.output.map(({ type }) => type)).toEqual(['compaction', 'message']);
    await client.responses.retrieve(made.id);
    await client.conversations.items.list(conversation);
    for await (const _ of await client.responses.retrieve(made.id, { stream: true }));
    for await (const _ of await client.responses.create({ ...body, stream: true, truncation: 'disabled' }));
    const compacted = await client.responses.compact({ model, input: [said, reply], instructions: 'Seats.' });
    const next = [
      ...(compacted.output as OpenAI.Responses.ResponseInputItem[]),
      { role: 'user' as const, content: 'x' },
    ];
    const after = await client.responses.create({ model, input: next });
    await client.responses.inputItems.list(after.id);
  });

  test('every parameter is given back', async () => {
    const format = {
      type: 'json_schema' as const,
      name: 'seat',
      schema: { type: 'object', properties: {} },
      strict: true,
    };
    await client.responses.create({
      model,
      input: [
        { role: 'developer', content: 'Be brief.' },
        { role: 'user', content: [{ type: 'input_text', text: '[[sim:say {}]]' }] },
      ],
      instructions: 'Speak of seats.',
      temperature: 0.5,
      top_p: 0.9,
      max_output_tokens: 100,
      reasoning: { effort: 'low' },
      tools: [{ type: 'function', ...tool }],
      tool_choice: { type: 'function', name: 'seats' },
      parallel_tool_calls: false,
      text: { format, verbosity: 'low' },
      safety_identifier: 'ophelia',
    });
    await client.responses.create({
      model,
      input: '[[sim:say {}]]',
      text: { format: { type: 'json_object' } },
      tools: [{ type: 'function', name: 'bare' } as OpenAI.Responses.FunctionTool],
      user: 'ophelia',
    });
  });

  test('an answer that breaks off', async () => {
    const input = '[[sim:cut after=3]] [[sim:tokens 10]]';
    await expect(client.responses.create({ model, input })).rejects.toThrow();
    for await (const _ of await client.responses.create({ model, input, stream: true }));
    const broken = async (): Promise<void> => {
      for await (const _ of await client.chat.completions.create({ model, messages: ask(input), stream: true }));
    };
    await expect(broken()).rejects.toThrow();
    await expect(client.responses.create({ model, input: '[[sim:500]]' })).rejects.toThrow();
  });

  test('an answer under way, and one that was cancelled', async () => {
    await simulator.plan({ tokens: 1000, tokenMs: 10 });
    const stream = await client.responses.create({ model, input: 'go on', stream: true });
    let id = '';
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id;
      if (event.type !== 'response.output_text.delta') continue;
      const running = await client.responses.retrieve(id);
      expect(running).toMatchObject({ status: 'in_progress', output: [] });
      expect(running.usage).toBeUndefined();
      break;
    }
    const read = async (): Promise<string | undefined> => (await client.responses.retrieve(id)).status;
    expect(await client.responses.cancel(id)).toMatchObject({ status: 'cancelled' });
    expect(await read()).toBe('cancelled');
    expect(await client.responses.retrieve(id)).toMatchObject({ output: [{ status: 'incomplete' }] });
  });

  test('conversations and their items, of every kind', async () => {
    const url = 'data:image/png;base64,iVBORw0KGgo=';
    const { id } = await client.conversations.create({
      metadata: { a: 'b' },
      items: [
        { type: 'message', role: 'user', content: [{ type: 'input_image', image_url: url, detail: 'low' }] },
        { type: 'message', role: 'system', content: 'Be kind.' },
        { type: 'message', role: 'developer', content: 'Be brief.' },
        { type: 'message', role: 'assistant', content: 'Gladly.' },
        { type: 'function_call', call_id: 'call_1', name: 'seats', arguments: '{}' },
        { type: 'function_call_output', call_id: 'call_1', output: 'free' },
      ],
    });
    await client.conversations.items.create(id, { items: [{ type: 'message', role: 'user', content: 'And now?' }] });
    await client.responses.create({ model, conversation: id, input: '[[sim:say Now]]' });
    const { data } = await client.conversations.items.list(id);
    expect(data).toHaveLength(9);
    for (const item of data) await client.conversations.items.retrieve(item.id!, { conversation_id: id });
    await client.conversations.items.list(id, { after: data.at(-1)!.id! });
    await client.conversations.items.delete(data[0]!.id!, { conversation_id: id });
    await client.conversations.retrieve(id);
    await client.conversations.update(id, { metadata: {} });
    await client.conversations.delete(id);
  });

  test('models', async () => {
    await client.models.list();
    await client.models.retrieve(model);
    await client.models.retrieve('vectors');
  });

  test('embeddings', async () => {
    await client.embeddings.create({ model: 'vectors', input: 'Which row?', encoding_format: 'float' });
    await client.embeddings.create({
      model: 'vectors',
      input: ['Which', 'row?'],
      encoding_format: 'float',
      dimensions: 8,
    });
    await expect(client.embeddings.create({ model: 'vector', input: 'x' })).rejects.toThrow();
    await expect(client.embeddings.create({ model: 'vectors', input: [1] })).rejects.toThrow();
  });

  test('refusals of every kind', async () => {
    const refused = [
      () => client.models.retrieve('nobody'),
      () => client.responses.retrieve('resp_none'),
      () => client.responses.create({ model, input: [] }),
      () => client.responses.create({ model, input: 'x', temperature: 9 }),
      () => client.chat.completions.create({ model, messages: [] }),
      () => client.withOptions({ apiKey: 'wrong' }).models.list(),
      () => client.conversations.retrieve('conv_none'),
    ];
    for (const request of refused) await expect(request()).rejects.toBeInstanceOf(APIError);
  });

  test('what is not as described is found, in answers and in streams', async () => {
    await using server = await scriptedBackend(({ method }, response) => {
      if (method === 'GET') return void response.end('{"object":"list","data":[{"id":"x","object":"modell"}]}');
      streamHead(response);
      const events = [
        { type: 'response.output_text.delta', sequence_number: 0, delta: 7 },
        { type: 'response.telepathy', sequence_number: 1 },
      ];
      response.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''));
    });
    const wrong = new OpenAI({ baseURL: server.url, apiKey: 'none', maxRetries: 0, fetch: spec.fetch });
    await wrong.models.list();
    for await (const _ of await wrong.responses.create({ model, input: 'x', stream: true }));
    const found = await spec.violations();
    expect(found.map(({ what }) => what)).toEqual([
      'ListModelsResponse',
      'ResponseStreamEvent response.output_text.delta',
      'ResponseStreamEvent response.telepathy',
    ]);
    expect(found[1]?.errors).toContain('data/delta must be string');
  });

  test('and all of this was really held against it', async () => {
    const counts = Object.fromEntries(spec.checked);
    expect(counts).toMatchObject({
      CreateChatCompletionResponse: expect.any(Number),
      CreateChatCompletionStreamResponse: expect.any(Number),
      CreateEmbeddingResponse: expect.any(Number),
      Response: expect.any(Number),
      ResponseStreamEvent: expect.any(Number),
      ResponseItemList: expect.any(Number),
      ConversationResource: expect.any(Number),
      DeletedConversationResource: expect.any(Number),
      ConversationItemList: expect.any(Number),
      ConversationItem: expect.any(Number),
      ListModelsResponse: expect.any(Number),
      Model: expect.any(Number),
      ErrorResponse: expect.any(Number),
    });
    expect(counts['ResponseStreamEvent']).toBeGreaterThan(80);
  });
});
