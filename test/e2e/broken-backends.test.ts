import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let first: ModelSimulator;
let second: ModelSimulator;
let usher: UsherProcess;
let client: OpenAI;

/** Each test has backends of its own over the same two servers, so that no breaker remembers another test. */
const stages = Array.from({ length: 16 }, (_, index) => index);
let model = '';

beforeAll(async () => {
  const [one, two] = await Promise.all([startModelSimulator(), startModelSimulator()]);
  [first, second] = [one, two];
  const timeouts = { firstTokenMs: 2000, betweenTokensMs: 1000 };
  const knowledge = { 'seats.md': '# Seats\n\nRow seven has the best view of the stage.\n' };
  const assistantOf = (stage: number) => [
    `helper-${stage}`,
    { spec: { pools: [`one-${stage}`, `two-${stage}`], turns: { rescue: 'fail' } }, knowledge },
  ];
  usher = await startUsher(
    usherFiles(
      stages.flatMap(() => [one.baseUrl, two.baseUrl]),
      {
        assistants: Object.fromEntries(stages.map(assistantOf)),
        config: {
          pools: stages.flatMap((stage) => [
            { name: `one-${stage}`, backends: [`backend-${2 * stage + 1}`], fallback: 'knowledge', timeouts },
            { name: `two-${stage}`, backends: [`backend-${2 * stage + 2}`], timeouts },
          ]),
        },
      },
    ),
  );
  client = new OpenAI({ baseURL: `${usher.url}/v1`, apiKey: usher.apiKey, maxRetries: 0 });
});
beforeEach(async () => {
  model = `helper-${stages.shift()}`;
  await Promise.all([first.clear(), second.clear()]);
});
afterAll(async () => {
  await usher?.stop();
  await Promise.all([first?.stop(), second?.stop()]);
});

const ask = (text = 'Which row?'): Promise<OpenAI.ChatCompletion> =>
  client.chat.completions.create({ model, messages: [{ role: 'user', content: text }] });

describe('before the first token', () => {
  for (const fault of [
    { kind: 'reset' },
    { kind: 'status', status: 500 },
    { kind: 'status', status: 429 },
    { kind: 'error-body' },
    { kind: 'hang' },
    { kind: 'garbage', after: 0 },
    { kind: 'cut', after: 0, how: 'fin' },
  ] as const) {
    test(`a backend that fails by ${JSON.stringify(fault)} is replaced without a word`, async () => {
      await first.plan({ fault });
      await second.plan({ say: 'from the second' });
      expect((await ask()).choices[0]?.message.content).toBe('from the second');
    });
  }

  test('with every model down, the assistant answers from its knowledge where the owner chose that', async () => {
    await Promise.all([first, second].map((simulator) => simulator.planAll({ fault: { kind: 'reset' } })));
    expect((await ask()).choices[0]?.message.content).toContain('Row seven has the best view of the stage.');
  });

  test('a request that the model refuses as invalid is not tried elsewhere', async () => {
    await first.plan({ fault: { kind: 'status', status: 400, code: 'context_length_exceeded' } });
    const before = (await second.log()).totals.requests;
    await expect(ask()).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
    expect((await second.log()).totals.requests).toBe(before);
  });
});

describe('after the first token, where the owner wants no rescue', () => {
  for (const fault of [
    { kind: 'cut', after: 5, how: 'fin' },
    { kind: 'cut', after: 5, how: 'reset' },
    { kind: 'cut', after: 5, how: 'end' },
    { kind: 'stall', after: 5 },
    { kind: 'error-event', after: 5 },
    { kind: 'garbage', after: 5 },
  ] as const) {
    test(`an answer broken by ${JSON.stringify(fault)} never passes for a whole one, on either wire`, async () => {
      await first.planAll({ fault, tokens: 30 });
      const stream = await client.chat.completions.create({
        model,
        messages: [{ role: 'user', content: 'go' }],
        stream: true,
      });
      let pieces = 0;
      const reading = (async () => {
        for await (const chunk of stream) pieces += chunk.choices[0]?.delta.content ? 1 : 0;
      })();
      await expect(reading).rejects.toMatchObject({ code: expect.stringMatching(/^backend_(broken|timeout)$/) });
      expect(pieces).toBeGreaterThan(0);

      const response = client.responses.stream({ model, input: 'go' });
      const final = await response.finalResponse().catch(() => undefined);
      expect(final?.status ?? 'failed').toBe('failed');
    });
  }

  test('the failed turn is kept with the part that came, as incomplete', async () => {
    await first.plan({ fault: { kind: 'cut', after: 5, how: 'fin' }, tokens: 30 });
    const { id } = await client.conversations.create();
    await expect(client.responses.create({ model, conversation: id, input: 'go' })).rejects.toMatchObject({
      status: 502,
    });
    const { data } = await client.conversations.items.list(id, { order: 'asc' });
    expect(data).toMatchObject([{ role: 'user' }, { role: 'assistant', status: 'incomplete' }]);
  });
});
