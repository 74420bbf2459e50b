import { connect } from 'node:net';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const assistant = 'guide';
let simulator: ModelSimulator;

beforeAll(async () => {
  simulator = await startModelSimulator();
});
beforeEach(() => simulator.clear());
afterAll(() => simulator?.stop());

function startWith(limits: object): Promise<UsherProcess> {
  return startUsher(usherFiles([simulator.baseUrl], { assistants: { [assistant]: {} }, config: { limits } }));
}

function clientOf(usher: UsherProcess): OpenAI {
  return new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
}

/** A stream that has begun and stands still until the simulator is told to go on. */
async function stalledStream(
  client: OpenAI,
): Promise<{ id: string; rest: Promise<OpenAI.Responses.Response | undefined> }> {
  await simulator.plan({ tokens: 30, fault: { kind: 'stall', after: 10 } });
  const stream = await client.responses.create({ model: assistant, input: 'Tell me.', stream: true });
  const events = stream[Symbol.asyncIterator]();
  let id = '';
  for (let pieces = 0; pieces < 5;) {
    const { value } = await events.next();
    if (value.type === 'response.created') id = value.response.id;
    if (value.type === 'response.output_text.delta') pieces += 1;
  }
  const rest = async (): Promise<OpenAI.Responses.Response | undefined> => {
    for (;;) {
      const { value, done } = await events.next();
      if (done === true) return undefined;
      if (value.type === 'response.completed') return value.response;
    }
  };
  return { id, rest: rest() };
}

const readiness = async (usher: UsherProcess): Promise<number> => (await fetch(`${usher.url}/readyz`)).status;

// Each starts the program twice, and the first waits for the announcement to end.
describe('a stop by SIGTERM', { timeout: 90_000 }, () => {
  test.each([
    ['nothing', ''],
    ['half of a request', 'GET /livez HTTP/1.1\r\nhost: localhost\r\n'],
    ['a request, and half of another', 'GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /livez'],
  ])('does not wait for a connection that asks for %s', { timeout: 30_000 }, async (_what, sent) => {
    await using usher = await startWith({ announceMs: 0, drainMs: 60_000 });
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(usher.url).port), allowHalfOpen: true });
    socket.on('error', () => undefined).resume();
    socket.write(sent);
    // It is there, and what it sent is read, once another has been answered.
    expect(await readiness(usher)).toBe(200);
    expect((await usher.kill('SIGTERM')).code).toBe(0);
    socket.destroy();
  });

  test('ends the process, however many listeners of streams have left in the middle', async () => {
    await using usher = await startWith({ announceMs: 0, drainMs: 1000 });
    const messages = [{ role: 'user' as const, content: '[[sim:tokens 60]]' }];
    const visit = async (leaves: boolean): Promise<void> => {
      const controller = new AbortController();
      const answer = await fetch(`${usher.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: assistant, messages, stream: true }),
        signal: controller.signal,
      });
      const reader = answer.body!.getReader();
      await reader.read();
      if (leaves) controller.abort();
      else while (!(await reader.read()).done);
    };
    for (let round = 0; round < 40; round += 1) {
      await Promise.all(Array.from({ length: 20 }, (_, at) => visit(at % 2 === 1)));
    }
    const stuck = AbortSignal.timeout(20_000);
    const killed = new Promise((resolve) => stuck.addEventListener('abort', () => resolve('stuck')));
    expect(await Promise.race([usher.kill('SIGTERM'), killed])).toEqual({ code: 0, signal: null });
  });

  test('is announced while it still serves, then lets the answer under way come to its end, and ends with 0', async () => {
    await using usher = await startWith({ announceMs: 5000, drainMs: 30_000 });
    const client = clientOf(usher);
    const { id, rest } = await stalledStream(client);
    const ended = usher.kill('SIGTERM');
    await expect.poll(() => readiness(usher), { timeout: 4000, interval: 20 }).toBe(503);
    // The load balancer has not looked yet: whoever still comes is served.
    const late = await client.responses.create({ model: assistant, input: '[[sim:say In time]]' });
    expect(late.output_text).toBe('In time');
    const refusal = async (): Promise<string> => {
      try {
        return String(await readiness(usher));
      } catch (error) {
        return ((error as Error).cause as { code?: string } | undefined)?.code ?? 'another failure';
      }
    };
    await expect.poll(refusal, { timeout: 30_000, interval: 50 }).toBe('ECONNREFUSED');
    await simulator.control({ do: 'release' });
    expect(await rest).toMatchObject({ id, status: 'completed' });
    expect(await ended).toEqual({ code: 0, signal: null });
    await usher.restart();
    expect(await client.responses.retrieve(id)).toMatchObject({ status: 'completed' });
    await usher.kill();
  });

  test('beyond its deadline tears the stream, so that nobody takes it for whole, ends with 0, and goes on with it at the next start', async () => {
    await using usher = await startWith({ drainMs: 200 });
    const client = clientOf(usher);
    const { id, rest } = await stalledStream(client);
    const torn = expect(rest).rejects.toThrow();
    expect(await usher.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    await torn;
    await usher.restart();
    const state = async () => (await client.responses.retrieve(id)).status;
    await expect.poll(state, { timeout: 20_000 }).toBe('completed');
    expect((await client.responses.retrieve(id)).output_text.length).toBeGreaterThan(0);
    expect(usher.logs()).not.toContain('"msg":"unexpected error"');
  });

  test('lets an answer that nobody hears here come to its end too, and does not stay for one that waits for a person', async () => {
    const assistants = { [assistant]: { spec: { handover: {} } } };
    const limits = { drainMs: 20_000 };
    await using usher = await startUsher(usherFiles([simulator.baseUrl], { assistants, config: { limits } }));
    const client = clientOf(usher);
    await simulator.plan({ tokens: 30, fault: { kind: 'stall', after: 10 } });
    const { requests: before } = (await simulator.log()).totals;
    const body = { model: assistant, background: true };
    const { id } = await client.responses.create({ ...body, input: 'Tell me.' });
    await simulator.until(({ requests }) => requests.at(-1)?.tokens === 10);
    const ended = usher.kill('SIGTERM');
    await expect.poll(() => readiness(usher).catch(() => 0), { timeout: 10_000 }).toBe(0);
    await simulator.control({ do: 'release' });
    expect(await ended).toEqual({ code: 0, signal: null });
    await usher.restart();
    expect(await client.responses.retrieve(id)).toMatchObject({ status: 'completed' });
    expect((await simulator.log()).totals.requests).toBe(before + 1);

    const input = '[[sim:call hand_over {"reason":"A refund."}]]';
    const waiting = await client.responses.create({ ...body, input });
    const operatorKey = await usher.key('operate');
    const handovers = async () => {
      const headers = { authorization: `Bearer ${operatorKey}` };
      const answer = await fetch(`${usher.url}/admin/handovers`, { headers });
      return ((await answer.json()) as { handovers: readonly object[] }).handovers.length;
    };
    await expect.poll(handovers, { timeout: 10_000 }).toBe(1);
    const fromMs = performance.now();
    expect(await usher.kill('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(performance.now() - fromMs).toBeLessThan(limits.drainMs / 2);
    await usher.restart();
    expect(await client.responses.retrieve(waiting.id)).toMatchObject({ status: 'in_progress' });
  });
});
