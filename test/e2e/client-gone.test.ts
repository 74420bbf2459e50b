import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

/**
 * The promise is 100 ms. The bound here is what a loaded machine of two cores may add to it; a
 * program that let the model run on would exceed it by far, since these answers take ten seconds.
 */
const goneWithinMs = 1000;

let simulator: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;

beforeAll(async () => {
  simulator = await startModelSimulator();
  usher = await startUsher(
    usherFiles([simulator.baseUrl], {
      assistants: { helper: { spec: { turns: { outliveClientMs: 0 } } }, patient: {} },
    }),
  );
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

const slow = { tokens: 1000, tokenMs: 10 };

async function backendGone(
  abort: () => void,
  answering: Promise<unknown>,
): Promise<{ waitedMs: number; tokens: number }> {
  await simulator.until((log) => (log.requests.at(-1)?.tokens ?? 0) >= 5);
  const leftAt = performance.timeOrigin + performance.now();
  abort();
  await answering.catch(() => undefined);
  const { requests } = await simulator.until((log) => log.requests.at(-1)?.end === 'aborted');
  return { waitedMs: requests.at(-1)!.endedAt! - leftAt, tokens: requests.at(-1)!.tokens };
}

describe('a client that leaves', () => {
  test('in the middle of a stream: the model stops, and what was generated is kept and counted', async () => {
    await simulator.plan(slow);
    const { id } = await client.conversations.create();
    const controller = new AbortController();
    const drain = async (): Promise<void> => {
      const stream = await client.responses.create(
        { model: 'helper', conversation: id, input: 'go on', stream: true },
        { signal: controller.signal },
      );
      await stream.toReadableStream().pipeTo(new WritableStream());
    };
    const { waitedMs } = await backendGone(() => controller.abort(), drain());
    expect(waitedMs).toBeLessThan(goneWithinMs);
    const items = await finished(id);
    expect(items).toMatchObject([{ role: 'user' }, { role: 'assistant', status: 'incomplete' }]);
    const metrics = await (await fetch(`${usher.url}/metrics`)).text();
    expect(metrics).toMatch(/usher_turns_total\{[^}]*state="cancelled"[^}]*\} 1/);
  });

  test('in the middle of a stream of an assistant that waits: the answer goes on, and can be heard to its end', async () => {
    const input = '[[sim:tokens 300]] [[sim:pace 5]]';
    const stream = await client.responses.create({ model: 'patient', input, stream: true });
    let id = '';
    let last = 0;
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id;
      last = event.sequence_number;
      if (last === 20) break;
    }
    const rest = await client.responses.retrieve(id, { stream: true, starting_after: last });
    let next = last;
    let status: string | undefined;
    for await (const event of rest) {
      expect(event.sequence_number).toBe((next += 1));
      if (event.type === 'response.completed') status = event.response.status;
    }
    expect(status).toBe('completed');
    expect((await simulator.log()).requests.at(-1)?.end).toBe('done');
  });

  test('while a whole answer is awaited', async () => {
    await simulator.plan(slow);
    const controller = new AbortController();
    const asked = client.chat.completions.create(
      { model: 'helper', messages: [{ role: 'user', content: 'go on' }] },
      { signal: controller.signal },
    );
    const { waitedMs } = await backendGone(() => controller.abort(), asked);
    expect(waitedMs).toBeLessThan(goneWithinMs);
  });

  test('before the first token, when the backend only hangs', async () => {
    await simulator.plan({ fault: { kind: 'hang' } });
    const controller = new AbortController();
    const asked = client.chat.completions
      .create({ model: 'helper', messages: [{ role: 'user', content: 'go on' }] }, { signal: controller.signal })
      .catch(() => undefined);
    const { totals } = await simulator.until((log) => log.totals.active === 1);
    const leftAt = performance.timeOrigin + performance.now();
    controller.abort();
    await asked;
    const { requests } = await simulator.until((log) => log.totals.aborted === totals.aborted + 1);
    expect(requests.at(-1)!.endedAt! - leftAt).toBeLessThan(goneWithinMs);
  });

  test('a conversation whose turn was stopped takes the next message', async () => {
    await simulator.plan(slow);
    const { id } = await client.conversations.create();
    const controller = new AbortController();
    const asked = client.responses.create(
      { model: 'helper', conversation: id, input: 'go on' },
      { signal: controller.signal },
    );
    await backendGone(() => controller.abort(), asked);
    await finished(id);
    const next = await client.responses.create({ model: 'helper', conversation: id, input: '[[sim:say Again]]' });
    expect(next.output_text).toBe('Again');
  });
});

/** Items once the stopped turn is recorded: the client is gone before that, so it is asked for. */
async function finished(conversation: string): Promise<unknown[]> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const { data } = await client.conversations.items.list(conversation, { order: 'asc' });
    if (data.length >= 2) return data;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('the stopped turn was never recorded');
}
