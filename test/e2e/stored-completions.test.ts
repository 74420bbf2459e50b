import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {}, other: {} } }));
  client = clientOf(usher);
});
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

const store = (word: string, rest: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming> = {}) =>
  client.chat.completions.create({ model, messages: [user(`[[sim:say ${word}]]`)], store: true, ...rest });

describe('a stored chat completion', () => {
  test('is read again as it was answered, streamed or not, with its metadata, until it is deleted', async () => {
    const made = await store('Row seven', { metadata: { topic: 'seats' } });
    expect(await client.chat.completions.retrieve(made.id)).toEqual({ ...made, metadata: { topic: 'seats' } });
    const changed = await client.chat.completions.update(made.id, { metadata: { topic: 'rows' } });
    expect(changed).toEqual({ ...made, metadata: { topic: 'rows' } });
    expect(await client.chat.completions.retrieve(made.id)).toEqual(changed);
    const tools = [{ type: 'function' as const, function: { name: 'seats' } }];
    const messages = [user('[[sim:call seats {"row":7}]]')];
    const stream = client.chat.completions.stream({ model, messages, tools, store: true });
    const streamed = await stream.finalChatCompletion();
    const read = await client.chat.completions.retrieve(streamed.id);
    expect(read.choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { tool_calls: [{ function: { name: 'seats', arguments: '{"row":7}' } }] },
    });
    expect(await client.chat.completions.delete(made.id)).toEqual({
      id: made.id,
      object: 'chat.completion.deleted',
      deleted: true,
    });
    await expect(client.chat.completions.retrieve(made.id)).rejects.toMatchObject({ status: 404 });
  });

  test('has functions by their older name where it was asked for so, in the answer and in what was sent', async () => {
    const called = { name: 'seats', arguments: '{"row":7}' };
    const functions = [{ name: 'seats', parameters: {} }];
    const messages = [
      user('Is it free?'),
      { role: 'assistant' as const, content: null, function_call: called },
      { role: 'function' as const, name: 'seats', content: 'free' },
      { role: 'assistant' as const, content: 'I look again.', function_call: called },
      { role: 'function' as const, name: 'seats', content: 'taken' },
      user('[[sim:call seats {"row":8}]]'),
    ];
    const made = await client.chat.completions.create({ model, messages, functions, store: true });
    expect(made.choices[0]?.message.function_call).toEqual({ name: 'seats', arguments: '{"row":8}' });
    expect(await client.chat.completions.retrieve(made.id)).toEqual({ ...made, metadata: {} });
    const { data } = await client.chat.completions.messages.list(made.id);
    expect(data).toMatchObject(messages);
    expect(data.flatMap((message) => message.tool_calls ?? [])).toEqual([]);
    const asResponse = await client.responses.retrieve(made.id.replace('chatcmpl-', 'resp_'));
    expect(asResponse.output).toMatchObject([{ type: 'function_call', name: 'seats' }]);
    expect(asResponse).not.toHaveProperty('asksFunctions');
  });

  test('loses its metadata where they are replaced with null', async () => {
    const made = await store('Row eight', { metadata: { topic: 'seats' } });
    expect(await client.chat.completions.update(made.id, { metadata: null })).toEqual({ ...made, metadata: {} });
    expect(await client.chat.completions.retrieve(made.id)).toEqual({ ...made, metadata: {} });
  });

  test('gives the messages that were sent with it, page by page', async () => {
    const image = 'data:image/png;base64,iVBORw0KGgo=';
    const call = { id: 'call_1', type: 'function' as const, function: { name: 'seats', arguments: '{}' } };
    const { id } = await store('ok', {
      messages: [
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'This?' },
            { type: 'image_url', image_url: { url: image } },
          ],
        },
        { role: 'assistant', content: 'I look.', tool_calls: [call] },
        { role: 'tool', tool_call_id: 'call_1', content: 'free' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Say. ' },
            { type: 'text', text: '[[sim:say ok]]' },
          ],
        },
      ],
    });
    const { data } = await client.chat.completions.messages.list(id);
    expect(data).toMatchObject([
      { role: 'developer', content: 'Be brief.', content_parts: null },
      { role: 'user', content: 'This?', content_parts: [{ type: 'text' }, { image_url: { url: image } }] },
      { role: 'assistant', content: 'I look.', tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', content: 'free' },
      { role: 'user', content: 'Say. [[sim:say ok]]', content_parts: [{ text: 'Say. ' }, { text: '[[sim:say ok]]' }] },
    ]);
    const pages: string[] = [];
    for await (const { id: message } of client.chat.completions.messages.list(id, { limit: 2, order: 'desc' })) {
      pages.push(message);
    }
    expect(pages).toEqual(data.map((message) => message.id).toReversed());
  });

  test('is listed by age, by its model and by its metadata', async () => {
    const group = { group: 'listed' };
    const made: OpenAI.ChatCompletion[] = [];
    for (const [word, asked] of [
      ['one', model],
      ['two', model],
      ['three', 'other'],
    ] as const) {
      made.push(await store(word, { model: asked, metadata: { ...group, word } }));
    }
    await client.chat.completions.create({ model, messages: [user('x')], metadata: group });
    const ids = async (query: OpenAI.ChatCompletionListParams) => {
      const found: string[] = [];
      for await (const { id } of client.chat.completions.list({ limit: 1, ...query })) found.push(id);
      return found;
    };
    const [one, two, three] = made.map(({ id }) => id);
    expect(await ids({ metadata: group })).toEqual([one, two, three]);
    expect(await ids({ metadata: group, order: 'desc' })).toEqual([three, two, one]);
    expect(await ids({ metadata: group, model })).toEqual([one, two]);
    expect(await ids({ metadata: group, model: made[2]!.model })).toEqual([three]);
    expect(await ids({ metadata: { ...group, word: 'two' } })).toEqual([two]);
    expect(await ids({ metadata: { group: 'none' } })).toEqual([]);
  });

  test('is none that was not stored, did not end with an answer, or is a response', async () => {
    const unstored = await client.chat.completions.create({ model, messages: [user('[[sim:say x]]')] });
    const response = await client.responses.create({ model, input: '[[sim:say x]]' });
    const ids = [unstored.id, response.id.replace('resp_', 'chatcmpl-'), 'chatcmpl-none', 'x'];
    for (const id of ids) {
      for (const refused of [
        () => client.chat.completions.retrieve(id),
        () => client.chat.completions.messages.list(id),
        () => client.chat.completions.update(id, { metadata: {} }),
        () => client.chat.completions.delete(id),
      ]) {
        const message = expect.stringContaining('There is no such chat completion.');
        await expect(refused()).rejects.toMatchObject({ status: 404, message });
      }
    }
    expect(await client.responses.retrieve(response.id)).toMatchObject({ output_text: 'x' });
  });

  test('of one person is not another’s', async () => {
    const plain = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey });
    const [ann, bob] = await Promise.all(
      ['ann', 'bob'].map(async (subject) => {
        const { token } = await plain.post<{ token: string }>('/user_tokens', { body: { assistant: model, subject } });
        return new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: token, maxRetries: 0 });
      }),
    );
    const { id } = await ann!.chat.completions.create({ model, messages: [user('[[sim:say Mine]]')], store: true });
    expect((await ann!.chat.completions.list()).data.map((each) => each.id)).toEqual([id]);
    expect((await bob!.chat.completions.list()).data).toEqual([]);
    await expect(bob!.chat.completions.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  test(
    'that nothing matches is looked for among two thousand, and the next page goes on',
    { timeout: 60_000 },
    async () => {
      await store('needle', { model: 'other', metadata: { topic: 'needle' } });
      const stores = Array.from({ length: 40 }, async () => {
        for (let count = 0; count < 50; count += 1) await store('hay', { model: 'other' });
      });
      await Promise.all(stores);
      const list = (rest: object) =>
        client.get<{ data: object[]; has_more: boolean; last_id: string }>('/chat/completions', {
          query: { order: 'desc', 'metadata[topic]': 'needle', ...rest },
        });
      const page = await list({});
      expect(page).toMatchObject({ data: [], has_more: true });
      expect(await list({ after: page.last_id })).toMatchObject({
        data: [{ metadata: { topic: 'needle' } }],
        has_more: false,
      });
    },
  );
});
