import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;

beforeAll(async () => {
  simulator = await startModelSimulator();
  const knowledge = { 'opening.md': '# Opening hours\n\nThe theatre opens at seven.\n' };
  const assistants = { helper: { instructions: 'You are helper.', knowledge } };
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants }));
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
});
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

const say = (text: string): { role: 'user'; content: string }[] => [{ role: 'user', content: text }];

describe('chat.completions', () => {
  test('a whole answer comes with usage and the release that served it', async () => {
    const answer = await client.chat.completions.create({ model: 'helper', messages: say('[[sim:say Good evening]]') });
    expect(answer.choices[0]).toMatchObject({
      message: { role: 'assistant', content: 'Good evening' },
      finish_reason: 'stop',
    });
    expect(answer.model).toMatch(/^helper@[0-9a-f]{12}$/);
    expect(answer.usage?.prompt_tokens).toBeGreaterThan(0);
    expect(answer.usage?.completion_tokens).toBeGreaterThan(0);
  });

  test('a streamed answer has the same text, piece by piece, and usage where asked for', async () => {
    const stream = await client.chat.completions.create({
      model: 'helper',
      messages: say('[[sim:tokens 40]]'),
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const whole = await client.chat.completions.create({ model: 'helper', messages: say('[[sim:tokens 40]]') });
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe(
      whole.choices[0]?.message.content,
    );
    expect(chunks.length).toBeGreaterThan(20);
    expect(chunks.at(-1)?.usage?.completion_tokens).toBe(whole.usage?.completion_tokens);
  });

  test('the model gets the instructions, the caller’s own, and the knowledge that fits the question', async () => {
    await client.chat.completions.create({
      model: 'helper',
      messages: [{ role: 'developer', content: 'Be brief.' }, ...say('When does the theatre open?')],
    });
    const { requests } = await simulator.log();
    const sent = JSON.stringify(requests.at(-1)?.body);
    expect(sent).toContain('You are helper.');
    expect(sent).toContain('Be brief.');
    expect(sent).toContain('The theatre opens at seven.');
  });

  test('a tool call goes out, and its result comes back in', async () => {
    const tools = [
      { type: 'function' as const, function: { name: 'seats', parameters: { type: 'object', properties: {} } } },
    ];
    const asked = say('[[sim:call seats {"row":7}]]');
    const first = await client.chat.completions.create({ model: 'helper', messages: asked, tools });
    const call = first.choices[0]!.message.tool_calls![0]!;
    expect(first.choices[0]?.finish_reason).toBe('tool_calls');
    expect(call).toMatchObject({ type: 'function', function: { name: 'seats' } });
    const second = await client.chat.completions.create({
      model: 'helper',
      tools,
      messages: [...asked, first.choices[0]!.message, { role: 'tool', tool_call_id: call.id, content: 'free' }],
    });
    expect(second.choices[0]?.finish_reason).toBe('stop');
  });
});

describe('responses', () => {
  test('a stored response is retrieved as it was answered, with what was said', async () => {
    const made = await client.responses.create({
      model: 'helper',
      input: '[[sim:say Row seven]]',
      metadata: { seat: '7' },
    });
    expect(made).toMatchObject({ status: 'completed', output_text: 'Row seven', metadata: { seat: '7' } });
    const read = await client.responses.retrieve(made.id);
    expect(read).toEqual(made);
    const input = await client.responses.inputItems.list(made.id);
    expect(input.data).toMatchObject([
      { role: 'user', content: [{ type: 'input_text', text: '[[sim:say Row seven]]' }] },
    ]);
  });

  test('the stream that the SDK puts together equals what is stored', async () => {
    const stream = client.responses.stream({ model: 'helper', input: '[[sim:tokens 30]]' });
    const numbers: number[] = [];
    stream.on('event', (event) => numbers.push(event.sequence_number));
    const final = await stream.finalResponse();
    const { output_parsed: _parsed, ...told } = JSON.parse(JSON.stringify(final));
    for (const item of told.output) for (const part of item.content) delete part.parsed;
    expect(told).toEqual(JSON.parse(JSON.stringify(await client.responses.retrieve(final.id))));
    expect(numbers).toEqual(numbers.map((_, index) => index));
  });

  test('a response that was not stored cannot be retrieved', async () => {
    const made = await client.responses.create({ model: 'helper', input: '[[sim:say hi]]', store: false });
    await expect(client.responses.retrieve(made.id)).rejects.toMatchObject({ status: 404 });
  });

  test('a response that follows another knows what was said before', async () => {
    const first = await client.responses.create({ model: 'helper', input: 'My name is Ophelia. [[sim:say Welcome]]' });
    await client.responses.create({
      model: 'helper',
      input: '[[sim:say Yes]] Who am I?',
      previous_response_id: first.id,
    });
    const { requests } = await simulator.log();
    const sent = JSON.stringify(requests.at(-1)?.body);
    expect(sent).toContain('My name is Ophelia.');
    expect(sent).toContain('Welcome');
  });
});

describe('conversations', () => {
  test('turns of a conversation add up, item by item', async () => {
    const conversation = await client.conversations.create({ metadata: { topic: 'seats' } });
    await client.responses.create({ model: 'helper', conversation: conversation.id, input: '[[sim:say One]]' });
    await client.responses.create({ model: 'helper', conversation: conversation.id, input: '[[sim:say Two]]' });
    const items = await client.conversations.items.list(conversation.id, { order: 'asc' });
    const texts = items.data.map((item) => (item.type === 'message' ? JSON.stringify(item.content) : item.type));
    expect(texts).toHaveLength(4);
    expect(texts[1]).toContain('One');
    expect(texts[3]).toContain('Two');
    const { requests } = await simulator.log();
    expect(JSON.stringify(requests.at(-1)?.body)).toContain('One');
  });

  test('items are added, read and deleted; metadata is changed; all of it can be deleted', async () => {
    const { id } = await client.conversations.create({ items: [{ type: 'message', role: 'user', content: 'first' }] });
    await client.conversations.items.create(id, { items: [{ type: 'message', role: 'user', content: 'second' }] });
    const [newest] = (await client.conversations.items.list(id)).data;
    expect(await client.conversations.items.retrieve(newest!.id!, { conversation_id: id })).toEqual(newest);
    await client.conversations.items.delete(newest!.id!, { conversation_id: id });
    expect((await client.conversations.items.list(id)).data).toHaveLength(1);
    expect(await client.conversations.update(id, { metadata: { a: 'b' } })).toMatchObject({ metadata: { a: 'b' } });
    expect(await client.conversations.delete(id)).toMatchObject({ deleted: true });
    await expect(client.conversations.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  test('what was deleted is told by no stream and no title', async () => {
    const ask = async (path: string, credential: string, body?: object): Promise<unknown> => {
      const headers = { authorization: `Bearer ${credential}`, 'content-type': 'application/json' };
      const asked = body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) };
      return (await fetch(usher.url + path, asked)).json();
    };
    const minted = (await ask('/v1/user_tokens', usher.apiKey, { assistant: 'helper', subject: 'ann' })) as {
      token: string;
    };
    const person = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: minted.token, maxRetries: 0 });
    const titles = () => ask('/chat/helper/conversations', minted.token);
    const { id } = await person.conversations.create();
    const input = 'my secret [[sim:say It is as you say: secret.]]';
    const response = await person.responses.create({ model: 'helper', conversation: id, input });
    const again = async () => {
      const events: unknown[] = [];
      for await (const event of await person.responses.retrieve(response.id, { stream: true })) events.push(event);
      return JSON.stringify(events);
    };
    expect(await again()).toContain('secret');
    expect(await titles()).toMatchObject({
      conversations: [{ id, title: expect.stringContaining('secret') as string }],
    });
    for (const item of (await person.conversations.items.list(id)).data) {
      await person.conversations.items.delete(item.id!, { conversation_id: id });
    }
    expect(await again()).not.toContain('secret');
    expect(await titles()).toMatchObject({ conversations: [{ id, title: null }] });
    await person.responses.create({ model: 'helper', conversation: id, input: 'a harmless word' });
    expect(await titles()).toMatchObject({ conversations: [{ id, title: 'a harmless word' }] });
  });

  test('a second message while a turn runs is refused, and the history stays whole', async () => {
    const { id } = await client.conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    const first = client.responses.create({ model: 'helper', conversation: id, input: 'slow' });
    await simulator.until((log) => log.totals.active === 1);
    await expect(
      client.responses.create({ model: 'helper', conversation: id, input: 'impatient' }),
    ).rejects.toMatchObject({ status: 400, code: 'conversation_locked' });
    await simulator.control({ do: 'release' });
    await first;
    expect((await client.conversations.items.list(id)).data).toHaveLength(2);
  });
});

describe('models', () => {
  test('an assistant is a model, plain, by environment and by digest', async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    expect(names).toEqual(['helper', 'helper@production']);
    const { model } = await client.chat.completions.create({
      model: 'helper@production',
      messages: say('[[sim:say hi]]'),
    });
    const again = await client.chat.completions.create({ model, messages: say('[[sim:say hi]]') });
    expect(again.model).toBe(model);
  });

  test('a misspelt name is refused with the nearest one', async () => {
    const asked = client.chat.completions.create({ model: 'helpr', messages: say('hi') });
    await expect(asked).rejects.toMatchObject({ status: 404, message: expect.stringContaining('"helper"') });
  });
});
