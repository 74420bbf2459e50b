import { DefaultChatTransport, readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { textOf, UiChat } from '#test/ui-chat';
import { usherFiles } from '#test/usher-files';
import { startToolServer, type ToolServer } from '../chaos/tool-server.ts';

let simulator: ModelSimulator;
let tools: ToolServer;
let files: ReturnType<typeof usherFiles>;
let usher: UsherProcess;
let client: OpenAI;
let transport: DefaultChatTransport<UIMessage>;
const model = 'helper';

beforeAll(async () => {
  simulator = await startModelSimulator();
  tools = await startToolServer(50);
  const book = {
    kind: 'http',
    name: 'book',
    description: 'Books a seat.',
    method: 'POST',
    url: `${tools.origin}/book`,
    parameters: { type: 'object', properties: { seat: { type: 'integer' } } },
  };
  const context = { budgetTokens: 1000, whenFull: 'compact', compactAt: 0.5 };
  const reserve = { ...book, name: 'reserve', confirm: true };
  const assistants = {
    [model]: { spec: { context, tools: [book, reserve], turns: { rescue: 'restart', whileBusy: 'queue' } } },
  };
  files = usherFiles([simulator.baseUrl], { assistants, config: { tools: { privateOrigins: [tools.origin] } } });
  usher = await startUsher(files);
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
  transport = transportTo(usher);
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), tools?.stop()]);
});

const said = (text: string): UIMessage => ({ id: crypto.randomUUID(), role: 'user', parts: [{ type: 'text', text }] });

function transportTo({ url, apiKey }: Pick<UsherProcess, 'url' | 'apiKey'>): DefaultChatTransport<UIMessage> {
  const headers = { authorization: `Bearer ${apiKey}` };
  return new DefaultChatTransport({ api: `${url}/v1/ui/chat`, headers, body: { model } });
}

async function send(chatId: string, text: string, abortSignal?: AbortSignal, to = transport) {
  return sendMessage(chatId, said(text), abortSignal, to);
}

async function sendMessage(chatId: string, newest: UIMessage, abortSignal?: AbortSignal, to = transport) {
  const messages = [newest];
  return to.sendMessages({ trigger: 'submit-message', chatId, messageId: undefined, messages, abortSignal });
}

/** The message as the hooks show it in the end. */
async function message(stream: Awaited<ReturnType<typeof send>>, goneOnWith?: UIMessage): Promise<UIMessage> {
  let last: UIMessage | undefined;
  const failed: unknown[] = [];
  const onError = (error: unknown): void => void failed.push(error);
  const from = goneOnWith === undefined ? {} : { message: goneOnWith };
  for await (const one of readUIMessageStream({ stream, onError, ...from })) last = one;
  if (failed.length > 0) throw failed[0];
  if (last === undefined) throw new Error('nothing came');
  return last;
}

/** As the hooks keep what the person said to a request for approval. */
function withAnswer(asked: UIMessage, approved: boolean): UIMessage {
  const parts = asked.parts.map((part) =>
    part.type === 'dynamic-tool' && part.state === 'approval-requested'
      ? ({ ...part, state: 'approval-responded', approval: { id: part.approval.id, approved } } as const)
      : part,
  );
  return { ...asked, parts };
}

describe('the hooks of the AI SDK', () => {
  test('talk in a conversation of the server, whose history it keeps', async () => {
    const { id } = await client.conversations.create();
    expect(textOf(await message(await send(id, 'I am Ophelia. [[sim:say Welcome]]')))).toBe('Welcome');
    const second = await message(await send(id, 'Who am I? [[sim:say Ophelia]]'));
    expect(textOf(second)).toBe('Ophelia');
    expect(second.id).toMatch(/^resp_/);
    expect(JSON.stringify((await simulator.log()).requests.at(-1)?.body)).toContain('I am Ophelia.');
    expect((await client.responses.retrieve(second.id)).output_text).toBe('Ophelia');
  });

  test('show an answer before which the conversation was compacted like any other', async () => {
    const { id } = await client.conversations.create();
    await simulator.planAll({ say: 'Row seven it is.' });
    const wish = 'Row seven, please. '.repeat(40);
    for (let nth = 0; nth < 2; nth += 1) await message(await send(id, wish));
    const shown = await message(await send(id, wish));
    expect(shown.parts.map(({ type }) => type)).toEqual(['text']);
    expect(textOf(shown)).toBe('Row seven it is.');
    const { output } = await client.responses.retrieve(shown.id);
    expect(output.map(({ type }) => type)).toEqual(['compaction', 'message']);
  });

  test('talk without one, with nothing kept', async () => {
    expect(textOf(await message(await send('a chat of mine', '[[sim:say Hello]]')))).toBe('Hello');
    expect(await transport.reconnectToStream({ chatId: 'a chat of mine' })).toBeNull();
  });

  test('show the assistant’s tools with what they were asked and what came of it', async () => {
    const shown = await message(await send('x', '[[sim:call book {"seat":7}]] [[sim:say Booked.]]'));
    const tool = shown.parts.find((part) => part.type === 'dynamic-tool');
    expect(tool).toMatchObject({
      toolName: 'book',
      state: 'output-available',
      input: { seat: 7 },
      output: { booked: true },
    });
    expect(textOf(shown)).toBe('Booked.');
  });

  test('show an application what the model thought, and a person that it answers', async () => {
    const { id } = await client.conversations.create();
    const shown = await message(await send(id, '[[sim:think Row seven is free.]] [[sim:say Row seven]]'));
    expect(shown.parts).toMatchObject([
      { type: 'reasoning', text: 'Row seven is free.', state: 'done' },
      { type: 'text', text: 'Row seven' },
    ]);
    const minted = await fetch(`${usher.url}/v1/user_tokens`, {
      method: 'POST',
      headers: { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ assistant: model, subject: 'ann' }),
    });
    const { token: apiKey } = (await minted.json()) as { token: string };
    const person = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey, maxRetries: 0 });
    const own = await person.conversations.create();
    const to = transportTo({ url: usher.url, apiKey });
    const told = await message(
      await send(own.id, '[[sim:think Row seven is free.]] [[sim:say Row seven]]', undefined, to),
    );
    expect(told.parts).toMatchObject([{ type: 'text', text: 'Row seven' }]);
  });

  test('ask the person before a tool runs that they have to agree to, and go on in the same message', async () => {
    const { id } = await client.conversations.create();
    const asked = await message(await send(id, '[[sim:call reserve {"seat":8}]] [[sim:say Reserved.]]'));
    const part = asked.parts.find((one) => one.type === 'dynamic-tool');
    expect(part).toMatchObject({ toolName: 'reserve', state: 'approval-requested', input: { seat: 8 } });
    const before = tools.hits.size;
    const goOn = async (answered: UIMessage) => message(await sendMessage(id, answered), answered);
    const shown = await goOn(withAnswer(asked, true));
    expect(shown.parts.filter(({ type }) => type === 'dynamic-tool')).toMatchObject([
      { toolName: 'reserve', state: 'output-available', output: { booked: true } },
    ]);
    expect(textOf(shown)).toBe('Reserved.');
    expect(tools.hits.size).toBe(before + 1);
    // Sent again it tells the answer again; the other way it is refused.
    expect(textOf(await goOn(withAnswer(asked, true)))).toBe('Reserved.');
    expect(tools.hits.size).toBe(before + 1);
    await expect(goOn(withAnswer(asked, false))).rejects.toThrow('answered before');

    const again = await message(await send(id, '[[sim:call reserve {"seat":9}]] [[sim:say As you like.]]'));
    await goOn(withAnswer(again, false));
    expect(JSON.stringify((await simulator.log()).requests.at(-1)?.body)).toContain('refused it');
    expect(tools.hits.size).toBe(before + 1);
  });

  test('answer a request once that a message answers many times, and none that it never asked', async () => {
    const { id } = await client.conversations.create();
    const asked = await message(await send(id, '[[sim:call reserve {"seat":10}]] [[sim:say Once.]]'));
    const before = tools.hits.size;
    const answered = withAnswer(asked, true);
    const often = { ...answered, parts: Array.from({ length: 50 }, () => answered.parts).flat() };
    expect(textOf(await message(await sendMessage(id, often), answered))).toBe('Once.');
    expect(tools.hits.size).toBe(before + 1);
    const approval = { id: `mcpr_${'0'.repeat(32)}`, approved: true };
    const call = { type: 'dynamic-tool', toolName: 'reserve', toolCallId: 'call_1', input: {} } as const;
    const invented = sendMessage(id, { ...answered, parts: [{ ...call, state: 'approval-responded', approval }] });
    await expect(invented).rejects.toThrow('no such request for approval');
  });

  test('go on talking, whether the person agreed or refused, each answer in the message that asked', async () => {
    const { id } = await client.conversations.create();
    const chat = new UiChat(id, usher, model);
    const before = tools.hits.size;
    for (const [nth, approved] of [false, true, false].entries()) {
      await chat.say(`[[sim:call reserve {"seat":${nth}}]] [[sim:say Answer ${nth}.]]`);
      const asking = chat.lastMessage!;
      await chat.answer(approved, 'I have thought about it.');
      expect(chat.lastMessage?.id).toBe(asking.id);
      expect(textOf(chat.lastMessage!)).toBe(`Answer ${nth}.`);
      expect(chat.lastMessage?.parts.find(({ type }) => type === 'dynamic-tool')).toMatchObject({
        state: approved ? 'output-available' : 'output-denied',
        approval: { approved },
      });
      await chat.say(`[[sim:say Then ${nth}.]]`);
      expect(textOf(chat.lastMessage!)).toBe(`Then ${nth}.`);
    }
    expect(chat.messages.map(({ role }) => role)).toEqual(
      Array.from({ length: 6 }, () => ['user', 'assistant']).flat(),
    );
    expect(tools.hits.size).toBe(before + 1);
    expect(JSON.stringify((await simulator.log()).requests.at(-1)?.body)).toContain('I have thought about it.');
  });

  test('have an answer made anew, or a message edited, in place of what was said from there on', async () => {
    const { id } = await client.conversations.create();
    const chat = new UiChat(id, usher, model);
    const kept = async () =>
      (await client.conversations.items.list(id, { order: 'asc', limit: 100 })).data.map((item) =>
        item.type === 'message'
          ? item.content.map((part) => ('text' in part ? part.text : part.type)).join('')
          : item.type,
      );
    for (const answer of ['One', 'Two', 'Three', 'Four', 'Five']) await simulator.plan({ say: answer });
    await chat.say('first');
    await chat.say('second');
    expect(await kept()).toEqual(['first', 'One', 'second', 'Two']);
    await chat.sayAgain();
    expect(await kept()).toEqual(['first', 'One', 'second', 'Three']);
    expect(JSON.stringify((await simulator.log()).requests.at(-1)?.body)).not.toContain('Two');
    await chat.say('second, edited', chat.messages[2]!.id);
    expect(await kept()).toEqual(['first', 'One', 'second, edited', 'Four']);
    await chat.sayAgain(chat.messages[1]!.id);
    expect(await kept()).toEqual(['first', 'Five']);
    expect(chat.messages.map(textOf)).toEqual(['first', 'Five']);
    await simulator.planAll({ say: 'Six' });
    await chat.say('third');
    expect(await kept()).toEqual(['first', 'Five', 'third', 'Six']);
  });

  test('have an answer made anew that was stopped, or refused before it began', async () => {
    const { id } = await client.conversations.create();
    const said = async () => (await client.conversations.items.list(id, { order: 'asc' })).data.map(({ type }) => type);
    const refused = new UiChat(id, usher, 'nobody');
    await expect(refused.say('first')).rejects.toThrow('nobody');
    const chat = new UiChat(id, usher, model);
    chat.messages = refused.messages;
    await simulator.plan({ say: 'One, and that takes its time to be said.', tokenMs: 100 });
    const answered = chat.sayAgain();
    await expect.poll(() => chat.messages.length).toBe(2);
    await chat.stop();
    await answered;
    await simulator.planAll({ say: 'Two' });
    await chat.sayAgain();
    expect(chat.messages.map(textOf)).toEqual(['first', 'Two']);
    expect(await said()).toEqual(['message', 'message']);
  });

  test('are refused to change what the conversation does not know by its id, unless it was loaded from there', async () => {
    const { id } = await client.conversations.create();
    await simulator.planAll({ say: 'Welcome' });
    await new UiChat(id, usher, model).say('first');
    const { data } = await client.conversations.items.list(id, { order: 'asc' });
    const loaded = (ids: readonly (string | undefined)[]): UIMessage[] =>
      (['user', 'assistant'] as const).map((role, nth) => ({
        id: ids[nth] ?? `own-${nth}`,
        role,
        parts: [{ type: 'text', text: 'first' }],
      }));
    const chat = new UiChat(id, usher, model);
    chat.messages = loaded([]);
    await expect(chat.sayAgain()).rejects.toThrow('does not know');
    expect((await client.conversations.items.list(id)).data).toHaveLength(2);
    const same = new UiChat(id, usher, model);
    same.messages = loaded(data.map((item) => item.id));
    await same.sayAgain();
    expect((await client.conversations.items.list(id)).data).toHaveLength(2);
  });

  test('send files, whose text the model reads, and are told of one that cannot be read', async () => {
    const chat = new UiChat('x', usher, model);
    const sent = (mediaType: string, url: string) => [{ type: 'file' as const, mediaType, filename: 'plan', url }];
    const files = sent('text/html', 'data:text/html,<p>Row seven is free</p>');
    await chat.sendMessage({ text: 'Which row? [[sim:say Seven]]', files });
    expect(textOf(chat.lastMessage!)).toBe('Seven');
    expect(JSON.stringify((await simulator.log()).requests.at(-1)?.body)).toContain('Row seven is free');
    const broken = sent('application/pdf', 'data:application/pdf;base64,JVBERi0xLjQK');
    await chat.sendMessage({ text: 'And here?', files: broken });
    expect(chat.error?.message).toContain('The file \\"plan\\" cannot be read');
  });

  test('hear at once that a message waits, and at the end how its answer ended', async () => {
    const { id } = await client.conversations.create();
    const first = send(id, '[[sim:pace 60]] [[sim:say The first of two answers takes its time.]]');
    const busy = (await first).getReader();
    await busy.read();
    const waiting = (await send(id, '[[sim:say The second]]')).getReader();
    expect((await waiting.read()).value).toMatchObject({ type: 'start', messageId: expect.stringMatching(/^resp_/) });
    expect((await client.conversations.items.list(id)).data).toHaveLength(1);
    const told = async (reader: typeof busy) => {
      const chunks: UIMessageChunk[] = [];
      for (let read = await reader.read(); !read.done; read = await reader.read()) chunks.push(read.value);
      return chunks;
    };
    expect((await told(busy)).at(-1)).toEqual({ type: 'finish', finishReason: 'stop' });
    const second = await told(waiting);
    expect(second.map(({ type }) => type)).toEqual(['text-start', 'text-delta', 'text-delta', 'text-end', 'finish']);
    const asked = (await send(id, '[[sim:call reserve {"seat":8}]]')).getReader();
    expect((await told(asked)).at(-1)).toEqual({ type: 'finish', finishReason: 'tool-calls' });
  });

  test('come back to an answer under way, from its beginning', async () => {
    const { id } = await client.conversations.create();
    const gone = new AbortController();
    const words = 'Row seven has the best view of the stage and the shortest way to the bar.';
    const stream = await send(id, `[[sim:pace 40]] [[sim:say ${words}]]`, gone.signal);
    await stream.getReader().read();
    gone.abort();
    const again = await transport.reconnectToStream({ chatId: id });
    if (again === null) throw new Error('nothing is under way');
    expect(textOf(await message(again))).toBe(words);
    expect(await transport.reconnectToStream({ chatId: id })).toBeNull();
  });

  test('come back to an answer that goes on after a refusal, with the message that asked or without it', async () => {
    const { id } = await client.conversations.create();
    const chat = new UiChat(id, usher, model);
    await chat.say('[[sim:call reserve {"seat":7}]] [[sim:pace 60]] [[sim:say Then not, and nothing is lost by it.]]');
    const asking = structuredClone(chat.messages);
    void chat.answer(false);
    await expect.poll(() => textOf(chat.lastMessage!)).not.toBe('');
    await chat.stop();
    const comeBack = async (messages: UIMessage[]) => {
      const again = new UiChat(id, usher, model);
      again.messages = messages;
      await again.resumeStream();
      expect(again.error).toBeUndefined();
      expect(again.messages.length).toBe(messages.length === 0 ? 1 : 2);
      expect(again.lastMessage).toMatchObject({ id: asking[1]!.id, metadata: { response: expect.any(String) } });
      expect(again.lastMessage?.parts).toMatchObject([
        { toolName: 'reserve', state: 'output-denied', input: { seat: 7 } },
        { type: 'text', text: 'Then not, and nothing is lost by it.' },
      ]);
    };
    await Promise.all([comeBack(asking), comeBack([])]);
  });

  test('join an answer that is made anew and says the same, and are told of one that does not', async () => {
    const words = 'Row seven, seats one to four';
    await simulator.plan({ say: words, fault: { kind: 'cut', after: 3, how: 'reset' } });
    await simulator.plan({ say: words });
    expect(textOf(await message(await send('x', 'where?')))).toBe(words);
    await simulator.plan({ say: words, fault: { kind: 'cut', after: 3, how: 'reset' } });
    await simulator.plan({ say: 'The house is full' });
    await expect(send('x', 'where?').then(message)).rejects.toThrow(/differs from what was told/);
    await simulator.plan({ say: words, fault: { kind: 'cut', after: 5, how: 'reset' } });
    await simulator.plan({ say: 'Row' });
    await expect(send('x', 'where?').then(message)).rejects.toThrow(/differs from what was told/);
  });

  test('show a call once that was cut short, and one that counts no more as one that was not made', async () => {
    // A server of its own: nothing else has used up what may be tried again.
    await using fresh = await startUsher(files);
    const own = transportTo(fresh);
    for (const after of [2, 9]) {
      await simulator.clear();
      const calls = '[[sim:call book {"seat":7}]] [[sim:call book {"seat":8}]]';
      await simulator.plan(`${calls} [[sim:cut after=${after} how=reset]]`);
      await simulator.planAll(`${calls} [[sim:say Booked.]]`);
      const shown = await message(await send('x', 'Book both.', undefined, own));
      const made = shown.parts.filter((part) => part.type === 'dynamic-tool' && part.state === 'output-available');
      expect(made).toHaveLength(2);
      expect(textOf(shown)).toBe('Booked.');
    }
  });

  test('are told of an answer that failed', async () => {
    await simulator.planAll({ fault: { kind: 'status', status: 400 } });
    await expect(send('x', 'hm').then(message)).rejects.toThrow();
  });
});
