import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { checkedClients } from '#test/checked-clients';
import { startUsher, type UsherProcess } from '#test/process';
import { accumulated, heard, isGapless, plain } from '#test/response-oracle';
import { usherFiles } from '#test/usher-files';

interface Handover {
  readonly id: string;
  readonly conversation: string | null;
  readonly openedBy: string;
  readonly waiting: string | null;
  readonly items?: readonly { readonly type: string; readonly role?: string }[];
}

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;
const clientOf = checkedClients();
let operatorKey: string;
const model = 'helper';
const handOver = '[[sim:call hand_over {"reason":"A refund."}]]';

beforeAll(async () => {
  simulator = await startModelSimulator();
  const missed = 'Nobody is here tonight.';
  const assistants = {
    [model]: { spec: { handover: { phrases: ['talk to a human'] }, turns: { outliveClientMs: 0 } } },
    hasty: { spec: { handover: { waitMs: 1000, missed } } },
    slow: { spec: { handover: { waitMs: 5000, missed } } },
    quiet: { spec: { handover: { tool: false, phrases: ['talk to a human'], waitMs: 60_000 } } },
    returning: { spec: { handover: { waitMs: 1000 } } },
    plain: {},
  };
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants }));
  client = clientOf(usher);
  operatorKey = await usher.key('operate');
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

async function admin<T>(method: string, path: string, body?: object, key = operatorKey): Promise<T> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  const answer = await fetch(`${usher.url}/admin/handovers${path}`, { method, headers, ...json });
  return { status: answer.status, ...((await answer.json()) as object) } as T;
}

function inDatabase(text: string): void {
  const db = new DatabaseSync(join(usher.dataDir, 'usher.db'), { timeout: 3000 });
  db.exec(text);
  db.close();
}

/** The open handover that waits for an answer, once there is one. */
async function waitingOne(conversation: string | null): Promise<Handover> {
  const find = async (): Promise<Handover | undefined> => {
    const { handovers } = await admin<{ handovers: Handover[] }>('GET', '?limit=100');
    return handovers.find((one) => one.conversation === conversation && one.waiting !== null);
  };
  await expect.poll(find, { timeout: 10_000 }).toBeDefined();
  return (await find())!;
}

async function untilWaiting(response: string): Promise<void> {
  const isWaiting = async (): Promise<boolean> => {
    const { handovers } = await admin<{ handovers: Handover[] }>('GET', '?limit=100');
    return handovers.some(({ waiting }) => waiting === response);
  };
  await expect.poll(isWaiting, { timeout: 10_000 }).toBe(true);
}

/** With a token of their own, for the assistant `quiet`. */
async function clientOfPerson(subject: string): Promise<OpenAI> {
  const headers = { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ assistant: 'quiet', subject });
  const minted = await fetch(`${usher.url}/v1/user_tokens`, { method: 'POST', headers, body });
  const { token } = (await minted.json()) as { token: string };
  return new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: token, maxRetries: 0 });
}

const asked = async (): Promise<number> => (await simulator.log()).requests.length;

describe('a conversation that is handed over', () => {
  test('is there for people as soon as its client is told that one is waited for', async () => {
    for (const input of [handOver, 'Let me talk to a human']) {
      const { id: conversation } = await client.conversations.create();
      const stream = await client.responses.create({ model, conversation, input, stream: true });
      for await (const { type } of stream) {
        if (type !== 'response.mcp_call.in_progress') continue;
        const { handovers } = await admin<{ handovers: Handover[] }>('GET', '?limit=100');
        const handover = handovers.find((one) => one.conversation === conversation);
        expect(handover?.waiting).toMatch(/^resp_/);
        await admin('POST', `/${handover?.id}/answers`, { text: 'Yes?', response: handover?.waiting });
        await admin('POST', `/${handover?.id}/return`);
      }
    }
    expect.assertions(2);
  });

  test('is answered by a person on the same stream, until it is handed back', async () => {
    const { id: conversation } = await client.conversations.create();
    const streamed = client.responses.create({ model, conversation, input: handOver, stream: true }).then(heard);
    const { id, openedBy, waiting } = await waitingOne(conversation);
    expect(openedBy).toBe('model');
    const { items } = await admin<Handover>('GET', `/${id}`);
    expect(items?.map(({ type }) => type)).toEqual(['message']);
    const reply = { text: 'You get your money back.', name: 'Mira' };
    const answered = await admin('POST', `/${id}/answers`, { ...reply, response: waiting });
    expect(answered).toEqual({ status: 200, to: 'response', response: waiting });
    // Who does not know whether it came sends it again, and it is not said twice.
    const again = await admin('POST', `/${id}/answers`, { ...reply, response: waiting });
    expect(again).toMatchObject({ status: 409, error: { code: 'conflict' } });

    const events = await streamed;
    expect(isGapless(events, 0)).toBe(true);
    const types = events.map(({ type }) => type);
    expect(types.indexOf('response.mcp_call.in_progress')).toBeLessThan(types.indexOf('response.mcp_call.completed'));
    const final = await accumulated(events);
    expect(final.status).toBe('completed');
    expect(final.output.map(({ type }) => type)).toEqual(['mcp_call', 'message', 'message']);
    expect(final.output[1]).toMatchObject({ content: [{ text: 'A person will answer you here.' }] });
    expect(final.output_text).toContain('You get your money back.');
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
    expect(await heard(await client.responses.retrieve(final.id, { stream: true }))).toEqual(events);

    const before = await asked();
    const next = client.responses.create({ model, conversation, input: 'When?' });
    await waitingOne(conversation);
    await admin('POST', `/${id}/answers`, { text: 'Tomorrow.' });
    expect((await next).output_text).toBe('Tomorrow.');
    expect(await asked()).toBe(before);

    expect(await admin('POST', `/${id}/answers`, { text: 'One more thing.' })).toMatchObject({ to: 'conversation' });
    expect(await admin('POST', `/${id}/return`)).toMatchObject({ state: 'returned' });
    expect(await admin('POST', `/${id}/return`)).toMatchObject({ status: 409 });
    const last = await client.responses.create({ model, conversation, input: '[[sim:say Here again.]]' });
    expect(last.output_text).toBe('Here again.');
    const prompt = JSON.stringify((await simulator.log()).requests.at(-1)?.body);
    for (const said of ['You get your money back.', 'Tomorrow.', 'One more thing.']) {
      expect(prompt.split(said)).toHaveLength(2);
    }
  });

  test('by a rule goes to a person without a model, which says so first', async () => {
    const before = await asked();
    const asking = client.responses.create({ model, input: 'Let me TALK TO A HUMAN please' });
    const { id, openedBy } = await waitingOne(null);
    expect(openedBy).toBe('rule');
    await admin('POST', `/${id}/answers`, { text: 'Hello, Ben here.', name: 'Ben' });
    const { output, id: previous } = await asking;
    expect(output.map(({ type }) => type)).toEqual(['message', 'mcp_call', 'message']);
    expect(output[0]).toMatchObject({ content: [{ text: 'A person will answer you here.' }] });
    expect(await asked()).toBe(before);
    // A chain of responses stays with its person too.
    const next = client.responses.create({ model, previous_response_id: previous, input: 'Still there?' });
    const again = await waitingOne(null);
    expect(again.id).toBe(id);
    await admin('POST', `/${id}/return`);
    expect((await next).output.at(-1)).toMatchObject({ type: 'message' });
    expect(await asked()).toBe(before + 1);
    expect(await admin('POST', `/${id}/answers`, { text: 'Too late' })).toMatchObject({ status: 409 });
  });

  test('and missed ends with the words set for that, or is the assistant’s again', async () => {
    const missed = await client.responses.create({ model: 'hasty', input: `${handOver} [[sim:say I am not asked]]` });
    expect(missed.output_text).toContain('Nobody is here tonight.');
    expect(missed.status).toBe('completed');
    const input = `${handOver} ${handOver} [[sim:say I can only say sorry.]]`;
    const returned = await client.responses.create({ model: 'returning', input });
    expect(returned.output_text).toContain('I can only say sorry.');
    const calls = returned.output.filter(({ type }) => type === 'mcp_call');
    expect(calls).toHaveLength(2);
    for (const call of calls) expect(call).toMatchObject({ status: 'failed', output: null });
    // No prompt ends with words that the model never said: it would go on with them.
    const { messages } = (await simulator.log()).requests.at(-1)!.body as { messages: { role: string }[] };
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'tool', 'assistant', 'tool']);
  });

  test('and handed back, is answered with what was added to it meanwhile', async () => {
    const { id: conversation } = await client.conversations.create();
    const streamed = client.responses.create({ model, conversation, input: handOver, stream: true }).then(heard);
    const { id } = await waitingOne(conversation);
    const added = (content: string) => ({ type: 'message' as const, role: 'user' as const, content });
    await client.conversations.items.create(conversation, { items: [added('The order is 4711.')] });
    await client.conversations.items.create(conversation, { items: [added('[[sim:say 4711 is on its way.]]')] });
    await admin('POST', `/${id}/return`);
    const final = await accumulated(await streamed);
    expect(final.output_text).toContain('4711 is on its way.');
    const { messages } = (await simulator.log()).requests.at(-1)!.body as { messages: { content: string }[] };
    expect(messages.filter(({ content }) => content.includes('The order is 4711.'))).toHaveLength(1);
    expect(final).toEqual(plain(await client.responses.retrieve(final.id)));
  });

  test('outlives its listener and its server, and is stopped as any other response', { timeout: 60_000 }, async () => {
    const { id: conversation } = await client.conversations.create();
    const { id: response } = await client.responses.create({ model, conversation, input: handOver, background: true });
    const { id } = await waitingOne(conversation);
    await usher.kill();
    await usher.restart();
    await waitingOne(conversation);
    expect(await admin('POST', `/${id}/answers`, { text: 'After the restart.' })).toMatchObject({ to: 'response' });
    const state = async () => (await client.responses.retrieve(response)).status;
    await expect.poll(state, { timeout: 20_000 }).toBe('completed');
    expect((await client.responses.retrieve(response)).output_text).toContain('After the restart.');

    const leaving = new AbortController();
    const heardNothing = client.responses.create({ model, conversation, input: 'Hm?' }, { signal: leaving.signal });
    const { waiting } = await waitingOne(conversation);
    leaving.abort();
    await expect(heardNothing).rejects.toThrow();
    expect((await client.responses.cancel(waiting ?? '')).status).toBe('cancelled');
    expect(await admin('POST', `/${id}/answers`, { text: 'For later.' })).toMatchObject({ to: 'conversation' });
  });

  test('is handed back also where its response had no server then', { timeout: 60_000 }, async () => {
    const { id: conversation } = await client.conversations.create();
    const input = 'Let me talk to a human [[sim:say Here again.]]';
    const { id: response } = await client.responses.create({ model, conversation, input, background: true });
    const { id } = await waitingOne(conversation);
    await usher.kill();
    // As another server writes it.
    inDatabase(`update handovers set state = 'returned', ended_at_ms = 1 where id = '${id}'`);
    await usher.restart();
    const state = async () => (await client.responses.retrieve(response)).status;
    await expect.poll(state, { timeout: 20_000 }).toBe('completed');
    expect((await client.responses.retrieve(response)).output_text).toContain('Here again.');
  });

  test('in the middle of an answer has that answer whole, also by another server', { timeout: 60_000 }, async () => {
    const { id: conversation } = await client.conversations.create();
    await client.responses.create({ model, conversation, input: '[[sim:say Hello]]' });
    await simulator.plan({ tokens: 40, tokenMs: 50 });
    const taken = client.responses.create({ model, conversation, input: 'go on', background: true });
    const { id: response } = await taken;
    await simulator.until((log) => (log.requests.at(-1)?.tokens ?? 0) > 20);
    await admin('POST', '', { conversation });
    await usher.kill();
    await usher.restart();
    const state = async () => (await client.responses.retrieve(response)).status;
    await expect.poll(state, { timeout: 20_000 }).toBe('completed');
    const { output } = await client.responses.retrieve(response);
    expect(output.filter(({ type }) => type === 'mcp_call')).toEqual([]);
    expect(output.at(-1)).toMatchObject({ type: 'message', status: 'completed' });
    const next = client.responses.create({ model, conversation, input: 'And now?' });
    const { id } = await waitingOne(conversation);
    await admin('POST', `/${id}/answers`, { text: 'Mira here.' });
    expect((await next).output_text).toBe('Mira here.');
  });

  test('is answered by whoever came at the last moment', { timeout: 30_000 }, async () => {
    // The answer is there only once the wait is found to be over.
    inDatabase(`create table held (turn text, reply blob);
      create trigger hold after update of reply on turns
        when new.reply is not null and not exists (select 1 from held where turn = new.id)
        begin insert into held values (new.id, new.reply); update turns set reply = null where id = new.id; end;
      create trigger late after update of state on handovers when new.state = 'missed'
        begin update turns set reply = (select reply from held where turn = turns.id)
          where id in (select turn from held); end`);
    const { id: conversation } = await client.conversations.create();
    const asking = client.responses.create({ model: 'slow', conversation, input: handOver });
    const { id } = await waitingOne(conversation);
    expect(await admin('POST', `/${id}/answers`, { text: 'Just in time.' })).toMatchObject({ to: 'response' });
    const { output_text: said } = await asking;
    inDatabase('drop trigger hold; drop trigger late; drop table held');
    expect(said).toContain('Just in time.');
    expect(said).not.toContain('Nobody is here tonight.');
  });

  test('is taken unasked where its assistant allows it, by operators alone', async () => {
    const { id: conversation } = await client.conversations.create();
    await client.responses.create({ model, conversation, input: '[[sim:say Hello]]' });
    const taken = await admin<Handover>('POST', '', { conversation });
    expect(taken).toMatchObject({ status: 200, openedBy: 'operator', waiting: null, conversation });
    expect((await admin<Handover>('POST', '', { conversation })).id).toBe(taken.id);
    const asking = client.responses.create({ model, conversation, input: 'Who is there?' });
    await waitingOne(conversation);
    await admin('POST', `/${taken.id}/answers`, { text: 'Me.' });
    expect((await asking).output_text).toBe('Me.');

    const { id: other } = await client.conversations.create();
    await client.responses.create({ model: 'plain', conversation: other, input: '[[sim:say Hello]]' });
    expect(await admin('POST', '', { conversation: other })).toMatchObject({ status: 409 });
    expect(await admin('GET', '', undefined, usher.apiKey)).toMatchObject({ status: 403 });
    const { data } = await client.conversations.items.list(other);
    expect(data).toHaveLength(2);
  });

  test('is not by a model whose owner did not give it that, nor taken for a rule’s because it says so', async () => {
    const { id: conversation } = await client.conversations.create();
    const calling = '[[sim:call hand_over {"reason":"x","by":"rule"}]]';
    const input = `${calling} [[sim:say I answer myself.]]`;
    const answered = await client.responses.create({ model: 'quiet', conversation, input });
    expect(answered.output_text).toBe('I answer myself.');
    expect((await simulator.log()).requests.at(-1)?.body).not.toHaveProperty('tools');
    // A function of the caller's whose name would be taken for it is refused.
    const tools = [{ type: 'function' as const, name: 'hand_over', parameters: {}, strict: false }];
    const clash = client.responses.create({ model: 'quiet', conversation, input, tools });
    await expect(clash).rejects.toMatchObject({ status: 400, param: 'tools[0]' });
    const background = await client.responses.create({ model, conversation: null, input: calling, background: true });
    const { id, openedBy } = await waitingOne(null);
    expect(openedBy).toBe('model');
    await client.responses.cancel(background.id);
    await client.responses.delete(background.id);
    expect(await admin('GET', `/${id}`)).toMatchObject({ status: 404 });
  });

  test('waits once, and a person of their own few times at once', async () => {
    const ann = await clientOfPerson('ann');
    const input = 'Talk to a human [[sim:say None is free.]]';
    const ask = (rest: object) =>
      ann.responses.create({ model: 'quiet', input, background: true, ...rest } as { model: string; input: string });
    const ids: string[] = [];
    for (let count = 0; count < 5; count += 1) {
      ids.push((await ask({ metadata: { count: String(count) } })).id);
      await untilWaiting(ids.at(-1)!);
    }
    expect((await ask({ background: false })).output_text).toContain('None is free.');
    await ann.responses.cancel(ids[0]!);
    const chained = { previous_response_id: ids[0], input: 'Hello? [[sim:say Ask in the other one.]]' };
    const { id: first } = await ask(chained);
    await untilWaiting(first);
    const second = await ask({ ...chained, background: false, metadata: { second: 'yes' } });
    expect(second.output_text).toContain('Ask in the other one.');
  });

  test('is one of five at the most, however many begin at once', async () => {
    const bob = await clientOfPerson('bob');
    const input = 'Talk to a human [[sim:say None is free.]]';
    const begun = await Promise.all(
      Array.from({ length: 8 }, (_, count) =>
        bob.responses.create({ model: 'quiet', input, background: true, metadata: { count: String(count) } }),
      ),
    );
    const states = async (): Promise<readonly string[]> => {
      const { handovers } = await admin<{ handovers: Handover[] }>('GET', '?limit=100');
      const found = await Promise.all(begun.map(({ id }) => bob.responses.retrieve(id)));
      return found
        .map(({ id, status }) => (handovers.some(({ waiting }) => waiting === id) ? 'waits' : status!))
        .toSorted();
    };
    const expected = [...Array(3).fill('completed'), ...Array(5).fill('waits')];
    await expect.poll(states, { timeout: 10_000 }).toEqual(expected);
    await Promise.all(begun.map(({ id }) => bob.responses.cancel(id).catch(() => undefined)));
  });

  test('keeps no place of its server from others, however many wait', { timeout: 120_000 }, async () => {
    const quiet = { spec: { handover: { phrases: ['talk to a human'], waitMs: 600_000 } } };
    await using crowded = await startUsher(usherFiles([simulator.baseUrl], { assistants: { quiet } }));
    const crowd = new OpenAI({ baseURL: `${crowded.url}/v1`, apiKey: crowded.apiKey, maxRetries: 0 });
    const ask = (input: string) => crowd.responses.create({ model: 'quiet', input, background: true });
    for (let round = 0; round < 26; round += 1) {
      await Promise.all(Array.from({ length: 40 }, () => ask('Talk to a human')));
    }
    const { id } = await ask('[[sim:say Here]]');
    const answer = async () => (await crowd.responses.retrieve(id)).output_text;
    await expect.poll(answer, { timeout: 60_000, interval: 200 }).toBe('Here');
  });
});
