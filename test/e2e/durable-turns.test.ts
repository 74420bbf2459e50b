import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
const model = 'helper';
const seats = {
  type: 'function' as const,
  name: 'seats',
  parameters: { type: 'object', properties: {} },
  strict: false,
};

beforeAll(async () => {
  simulator = await startModelSimulator();
  const assistants = {
    helper: {},
    // Nobody is waited for; those who queue are there all the same.
    queueing: { spec: { turns: { whileBusy: 'queue', queueMax: 2, outliveClientMs: 0 } } },
    hasty: { spec: { turns: { whileBusy: 'queue', queueMs: 300 } } },
    failing: { spec: { turns: { rescue: 'fail' } } },
    restarting: { spec: { turns: { rescue: 'restart' } } },
  };
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants }));
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
});
let askedBefore: number;
beforeEach(async () => {
  await simulator.clear();
  askedBefore = (await simulator.log()).requests.length;
});
/** How often the model was asked in this test. */
const asked = async (): Promise<number> => (await simulator.log()).requests.length - askedBefore;

function inDatabase({ dataDir }: UsherProcess, text: string): void {
  const db = new DatabaseSync(join(dataDir, 'usher.db'), { timeout: 3000 });
  db.exec(text);
  db.close();
}

afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

describe('a response that is streamed again', () => {
  test.each([
    ['text', '[[sim:say Good evening, dear guest]]'],
    ['refusal', '[[sim:refusal I would rather not.]]'],
    ['calls', '[[sim:say One moment]] [[sim:call seats {"row":7}]] [[sim:call seats {"row":8}]]'],
    ['length', '[[sim:tokens 40]]'],
    ['failure', '[[sim:cut after=3]] [[sim:tokens 10]]'],
    ['empty', '[[sim:tokens 0]]'],
  ])('is the same from every offset, and what the client makes of it is what is stored: %s', async (name, input) => {
    const limit = name === 'length' ? { max_output_tokens: 16 } : {};
    const body = { model: name === 'failure' ? 'failing' : model, input, tools: [seats], ...limit };
    const live = await heard(await client.responses.create({ ...body, stream: true }));
    const first = live[0];
    if (first?.type !== 'response.created') throw new Error('no beginning was told');
    expect(isGapless(live, 0)).toBe(true);
    const stored = plain(await client.responses.retrieve(first.response.id));
    expect(await accumulated(live)).toEqual(stored);
    for (let offset = -1; offset < live.length; offset += 1) {
      const query = offset === -1 ? {} : { starting_after: offset };
      const again = await heard(await client.responses.retrieve(stored.id, { stream: true, ...query }));
      expect(again).toEqual(live.slice(offset + 1));
      expect(await accumulated([...live.slice(0, offset + 1), ...again])).toEqual(stored);
    }
    const helper = client.responses.stream({ response_id: stored.id, starting_after: 1 });
    expect(plain(await helper.finalResponse())).toEqual(stored);
    // Its events are swept some day; its items stay.
    inDatabase(usher, `delete from turn_events where turn = '${stored.id.replace('resp_', 'turn_')}'`);
    const anew = await heard(await client.responses.retrieve(stored.id, { stream: true }));
    expect(isGapless(anew, 0)).toBe(true);
    expect(await accumulated(anew)).toEqual(stored);
    if (stored.output.length === 0) return;
    const resumed = client.responses.retrieve(stored.id, { stream: true, starting_after: 1 });
    await expect(resumed).rejects.toMatchObject({ status: 400, param: 'starting_after' });
  });

  test('is not there for others, and needs a stream to start after something', async () => {
    const { id } = await client.responses.create({ model, input: '[[sim:say Hm]]' });
    const query = { path: `/responses/${id}?starting_after=1` };
    await expect(client.get(query.path)).rejects.toMatchObject({ status: 400, param: 'starting_after' });
    for (const background of [false, true]) {
      const body = { model, input: '[[sim:tokens 20]] [[sim:pace 20]]', background };
      const begun = await client.responses.create(body);
      const beyond = client.responses.retrieve(begun.id, { stream: true, starting_after: 99_999 });
      await expect(beyond).rejects.toMatchObject({
        status: 400,
        param: 'starting_after',
        message: expect.stringContaining('The last event of this response is number') as string,
      });
    }
    const unknown = `resp_${'0'.repeat(32)}`;
    await expect(client.responses.retrieve(unknown, { stream: true })).rejects.toMatchObject({ status: 404 });
  });

  test('breaks off where it was not told to its end before its events went, and never passes for whole', async () => {
    const { id: conversation } = await client.conversations.create();
    const body = { model, conversation, input: '[[sim:tokens 60000]]', background: true };
    const { id } = await client.responses.create(body);
    const path = `${usher.url}/v1/responses/${id}?stream=true`;
    const slow = get(path, { headers: { authorization: `Bearer ${usher.apiKey}` } });
    const [stream] = (await once(slow, 'response')) as [IncomingMessage];
    const read = async () => (await client.responses.retrieve(id)).status;
    await expect.poll(read, { timeout: 30_000 }).toBe('completed');
    const [asked] = (await client.conversations.items.list(conversation, { order: 'asc' })).data;
    await client.conversations.items.delete(asked!.id!, { conversation_id: conversation });
    const told: string[] = [];
    stream.setEncoding('utf8').on('data', (piece: string) => void told.push(piece));
    await expect(once(stream, 'end')).rejects.toThrow('aborted');
    expect(told.join('')).not.toContain('response.completed');
  });
});

describe('a background response', () => {
  test('is taken at once, waits, runs and is whole, with nobody listening', async () => {
    const taken = await client.responses.create({ model, input: '[[sim:say All done]]', background: true });
    expect(taken).toMatchObject({ status: 'queued', background: true, output: [] });
    const read = async () => (await client.responses.retrieve(taken.id)).status;
    await expect.poll(read, { timeout: 10_000 }).toBe('completed');
    expect(await client.responses.retrieve(taken.id)).toMatchObject({
      output_text: 'All done',
      created_at: taken.created_at,
    });
    expect((await client.responses.inputItems.list(taken.id)).data).toHaveLength(1);
  });

  test('is streamed from its wait to its end, and once more the same', async () => {
    const body = { model, input: '[[sim:say All done]]', background: true, stream: true } as const;
    const events = await heard(await client.responses.create(body));
    expect(events.slice(0, 3).map(({ type }) => type)).toEqual([
      'response.created',
      'response.queued',
      'response.in_progress',
    ]);
    expect(isGapless(events, 0)).toBe(true);
    const { id } = await accumulated(events);
    expect(await heard(await client.responses.retrieve(id, { stream: true }))).toEqual(events);
    expect(await accumulated(events)).toEqual(plain(await client.responses.retrieve(id)));
  });

  test('needs to be stored', async () => {
    const body = { model, input: 'x', background: true, store: false };
    await expect(client.responses.create(body)).rejects.toMatchObject({ status: 400, param: 'store' });
  });

  test('is cancelled while it runs: the model stops, and what came is kept', async () => {
    await simulator.plan({ tokens: 1000, tokenMs: 10 });
    const taken = await client.responses.create({ model, input: 'go on', background: true });
    await simulator.until((log) => (log.requests.at(-1)?.tokens ?? 0) > 30);
    const cancelled = await client.responses.cancel(taken.id);
    expect(cancelled).toMatchObject({ status: 'cancelled', output: [{ status: 'incomplete' }] });
    expect(cancelled.usage?.output_tokens).toBeGreaterThan(0);
    await simulator.until((log) => log.requests.at(-1)?.end === 'aborted');
    expect(await client.responses.cancel(taken.id)).toMatchObject({ status: 'cancelled' });
    const told = await heard(await client.responses.retrieve(taken.id, { stream: true }));
    expect(told.at(-1)?.type).toBe('response.incomplete');
    expect(await accumulated(told)).toEqual(plain(cancelled));
  });

  test('is cancelled before it began, while its conversation is busy', async () => {
    const { id: conversation } = await client.conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    const running = client.responses.create({ model, conversation, input: 'slow' });
    await simulator.until((log) => log.totals.active === 1);
    const waiting = await client.responses.create({ model, conversation, input: 'later', background: true });
    expect(waiting.status).toBe('queued');
    expect(await client.responses.cancel(waiting.id)).toMatchObject({ status: 'cancelled', output: [] });
    await simulator.control({ do: 'release' });
    await running;
    expect(await asked()).toBe(1);
  });
});

describe('a message while its conversation has a running turn', () => {
  test('waits where the assistant queues, in order, and each sees what was said before it', async () => {
    const { id: conversation } = await client.conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    const ask = (input: string) => client.responses.create({ model: 'queueing', conversation, input });
    const first = ask('the first');
    await simulator.until((log) => log.totals.active === 1);
    const second = ask('the second [[sim:say Two]]');
    const queued = async () =>
      (await client.responses.create({ model: 'queueing', conversation, input: 'x', background: true })).id;
    const known = await queued();
    await expect(ask('too many').then(() => ask('far too many'))).rejects.toMatchObject({
      code: 'conversation_locked',
    });
    const onward = { model: 'queueing', previous_response_id: known, input: 'And then?' };
    await expect(client.responses.create(onward)).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining('has not begun yet') as string,
    });
    await client.responses.cancel(known);
    await simulator.control({ do: 'release' });
    await first;
    expect((await second).output_text).toBe('Two');
    const items = await client.conversations.items.list(conversation, { order: 'asc' });
    const roles = items.data.map((item) => (item.type === 'message' ? item.role : item.type));
    expect(roles.slice(0, 4)).toEqual(['user', 'assistant', 'user', 'assistant']);
  });

  test('is refused where the assistant refuses, and where it waited too long', async () => {
    await simulator.plan({ fault: { kind: 'hang' } });
    const { id: conversation } = await client.conversations.create();
    const running = client.responses.create({ model: 'hasty', conversation, input: 'slow' });
    await simulator.until((log) => log.totals.active === 1);
    const impatient = client.responses.create({ model: 'hasty', conversation, input: 'now' });
    await expect(impatient).rejects.toMatchObject({ status: 400, code: 'conversation_locked' });
    await simulator.control({ do: 'release' });
    await running;
  });
});

describe('a conversation that is deleted', () => {
  test('stops what runs or waits in it, whose listeners hear of the end', async () => {
    const { id: conversation } = await client.conversations.create();
    await simulator.plan({ tokens: 1000, tokenMs: 10 });
    const ask = { model: 'queueing', conversation, input: 'slow', stream: true } as const;
    const running = heard(await client.responses.create(ask));
    await simulator.until((log) => (log.requests.at(-1)?.tokens ?? 0) > 30);
    const waiting = heard(await client.responses.create(ask));
    const { id } = await client.responses.create({ ...ask, stream: false, background: true });
    const following = heard(await client.responses.retrieve(id, { stream: true }));
    const startedMs = performance.now();
    await client.conversations.delete(conversation);
    const ends = (await Promise.all([running, waiting, following])).map((events) => events.at(-1));
    expect(performance.now() - startedMs).toBeLessThan(5000);
    for (const end of ends)
      expect(end).toMatchObject({ type: 'response.incomplete', response: { status: 'cancelled' } });
    await expect(client.conversations.retrieve(conversation)).rejects.toMatchObject({ status: 404 });
    await expect(client.responses.retrieve(id)).rejects.toMatchObject({ status: 404 });
    expect(await asked()).toBe(1);
  });
});

describe('a turn that cannot go on', () => {
  test.each([
    ['after three nodes were lost with it', 'update turns set attempts = 3'],
    ['where nobody can read it any more', "update turns set attempts = 3, settings = x'00'"],
  ])('%s fails, and its conversation goes on', { timeout: 60_000 }, async (_name, damage) => {
    await using lost = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
    const talking = new OpenAI({ baseURL: `${lost.url}/v1`, apiKey: lost.apiKey, maxRetries: 0 });
    const { id: conversation } = await talking.conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    const taken = await talking.responses.create({ model, conversation, input: 'slow', background: true });
    await simulator.until((log) => log.totals.active === 1);
    await lost.kill();
    inDatabase(lost, `${damage} where state = 'running'`);
    await simulator.control({ do: 'release' });
    await lost.restart();
    const next = () =>
      talking.responses.create({ model, conversation, input: '[[sim:say Back again]]' }).then(
        ({ output_text: text }) => text,
        (error: unknown) => String(error),
      );
    await expect.poll(next, { timeout: 30_000 }).toBe('Back again');
    if (damage.includes('settings')) return;
    const ended = await talking.responses.retrieve(taken.id);
    expect(ended).toMatchObject({
      status: 'failed',
      error: { message: expect.stringContaining('Send the message again') as string },
    });
  });

  test('since nobody can read what waits ends, and what comes after it in its conversation goes on', async () => {
    const { id: conversation } = await client.conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    await client.responses.create({ model, conversation, input: 'slow', background: true });
    await simulator.until((log) => log.totals.active === 1);
    const waits = { model, conversation, input: '[[sim:say I waited]]', background: true };
    const [unreadable, cancelled, next] = [
      await client.responses.create(waits),
      await client.responses.create(waits),
      await client.responses.create(waits),
    ];
    const turnOf = ({ id }: { id: string }): string => id.replace('resp_', 'turn_');
    inDatabase(
      usher,
      `update queued_turns set input = x'00' where id in ('${turnOf(unreadable)}', '${turnOf(cancelled)}')`,
    );
    expect(await client.responses.cancel(cancelled.id)).toMatchObject({ status: 'cancelled' });
    await simulator.control({ do: 'release' });
    const read = async () => (await client.responses.retrieve(next.id)).status;
    await expect.poll(read, { timeout: 10_000 }).toBe('completed');
    expect(await client.responses.retrieve(unreadable.id)).toMatchObject({
      status: 'failed',
      error: { message: expect.stringContaining('Send it again') as string },
    });
    await client.responses.delete(unreadable.id);
  });

  test('since its end was refused once is gone on with, while its node runs another', { timeout: 60_000 }, async () => {
    await using busy = await startUsher(usherFiles([simulator.baseUrl], { assistants: { [model]: {} } }));
    const talking = new OpenAI({ baseURL: `${busy.url}/v1`, apiKey: busy.apiKey, maxRetries: 0 });
    await simulator.plan({ fault: { kind: 'hang' } });
    const other = await talking.responses.create({ model, input: 'slow', background: true });
    await simulator.until((log) => log.totals.active === 1);
    inDatabase(
      busy,
      `create trigger refused before update of state on turns when new.state = 'completed'
      begin select raise(abort, 'refused'); end`,
    );
    const refused = await talking.responses.create({ model, input: '[[sim:say Hi]]', background: true });
    await expect.poll(() => busy.logs(), { timeout: 10_000 }).toContain('"operation":"finishTurn"');
    inDatabase(busy, 'drop trigger refused');
    const state = async (id: string) => (await talking.responses.retrieve(id)).status;
    await expect.poll(() => state(refused.id), { timeout: 20_000 }).toBe('completed');
    expect(await state(other.id)).toBe('in_progress');
    // The other hangs for good: a stop would wait for it.
    await busy.kill();
  });
});

describe('a request that comes again', () => {
  test('joins the turn of its idempotency key, while it runs and afterwards; another body is refused', async () => {
    const headers = { 'Idempotency-Key': 'once-only' };
    const body = { model, input: '[[sim:say Once]]' };
    const [one, two] = await Promise.all([
      client.responses.create(body, { headers }),
      client.responses.create(body, { headers }),
    ]);
    expect(two).toEqual(one);
    expect(await client.responses.create(body, { headers })).toEqual(one);
    expect(await asked()).toBe(1);
    const other = client.responses.create({ ...body, input: 'something else' }, { headers });
    await expect(other).rejects.toMatchObject({ status: 409, code: 'conflict' });
    const unkept = client.responses.create({ ...body, store: false }, { headers });
    await expect(unkept).rejects.toMatchObject({ status: 400, param: 'store' });
  });

  test('joins the running turn where the client says that it repeats, and only then', async () => {
    const body = { model, input: '[[sim:tokens 60]] [[sim:pace 10]]' };
    const first = client.responses.create(body);
    await simulator.until((log) => log.totals.active === 1);
    const repeat = await client.responses.create(body, { headers: { 'X-Stainless-Retry-Count': '1' } });
    expect(repeat).toEqual(await first);
    expect(await asked()).toBe(1);
    expect((await client.responses.create(body)).id).not.toBe(repeat.id);
  });

  test('is another message where the answer to the same words was heard', async () => {
    const { id: conversation } = await client.conversations.create();
    const body = { model, conversation, input: '[[sim:say Yes]]' };
    const first = await client.responses.create(body);
    // Of the second its client's first try never arrived.
    const second = await client.responses.create(body, { headers: { 'X-Stainless-Retry-Count': '1' } });
    expect(second.id).not.toBe(first.id);
    expect(await asked()).toBe(2);
    expect((await client.conversations.items.list(conversation)).data).toHaveLength(4);
  });

  test.each([{ 'X-Stainless-Retry-Count': '1' }, { 'Idempotency-Key': 'after-a-failure' }])(
    'asks a model anew where the first failed: %o',
    async (headers) => {
      const body = { model: 'failing', input: 'Do you hear me?' };
      for (let i = 0; i < 4; i += 1) await simulator.plan({ fault: { kind: 'status', status: 500 } });
      await expect(client.responses.create(body, { headers })).rejects.toMatchObject({ status: 502 });
      await simulator.clear();
      expect(await client.responses.create(body, { headers })).toMatchObject({ status: 'completed' });
    },
  );
});

describe('an answer that its model server breaks off', () => {
  test('is made anew: the client is told, and what it makes of it is what is stored', async () => {
    await simulator.plan({ tokens: 30, fault: { kind: 'cut', after: 12, how: 'reset' } });
    const events = await heard(await client.responses.create({ model: 'restarting', input: 'go on', stream: true }));
    expect(events.filter(({ type }) => type === 'response.in_progress')).toHaveLength(2);
    expect(isGapless(events, 0)).toBe(true);
    const final = await accumulated(events);
    expect(final).toMatchObject({ status: 'completed', output: [{ status: 'completed' }] });
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
  });

  test.each(['final-message', 'prefix', 'assistant'] as const)(
    'is gone on with on the same item, where a model server can: %s',
    async (continuation) => {
      await using able = await startUsher(
        usherFiles([simulator.baseUrl], { assistants: { [model]: {} }, backend: { continuation } }),
      );
      const talking = new OpenAI({ baseURL: `${able.url}/v1`, apiKey: able.apiKey, maxRetries: 0 });
      const words = 'Row seven has the best view of the stage and the shortest way to the bar.';
      const cut = { kind: 'cut', after: 6, how: 'reset' } as const;
      await simulator.plan({ say: words, fault: cut });
      await simulator.plan({ say: words });
      const events = await heard(await talking.responses.create({ model, input: 'where?', stream: true }));
      const final = await accumulated(events);
      expect(final.output_text).toBe(words);
      expect(final).toEqual(plain(await talking.responses.retrieve(final.id)));
      expect(events.filter(({ type }) => type === 'response.output_item.added')).toHaveLength(1);
      const sent = (await simulator.log()).requests.at(-1)?.body as { messages: { role: string; content: string }[] };
      expect(sent.messages.at(-1)?.role).toBe('assistant');
      expect(words.startsWith(sent.messages.at(-1)!.content)).toBe(true);
    },
  );

  test('fails visibly where its owner wants that, with what came', async () => {
    await simulator.plan({ tokens: 30, fault: { kind: 'cut', after: 12, how: 'reset' } });
    const events = await heard(await client.responses.create({ model: 'failing', input: 'go on', stream: true }));
    const final = await accumulated(events);
    expect(final).toMatchObject({ status: 'failed', output: [{ status: 'incomplete' }] });
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
  });

  test('is joined on Chat Completions where the new one says the same again, and lost where it does not', async () => {
    const chat = async (content: string): Promise<string> => {
      const messages = [{ role: 'user' as const, content }];
      const stream = await client.chat.completions.create({ model: 'restarting', messages, stream: true });
      let text = '';
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
      return text;
    };
    await simulator.plan({ say: 'Row seven, seats one to four', fault: { kind: 'cut', after: 3, how: 'reset' } });
    await simulator.plan({ say: 'Row seven, seats one to four' });
    expect(await chat('where?')).toBe('Row seven, seats one to four');
    await simulator.plan({ say: 'Row seven, seats one to four', fault: { kind: 'cut', after: 3, how: 'reset' } });
    await simulator.plan({ say: 'The house is full' });
    await expect(chat('where?')).rejects.toThrow();
  });
});
