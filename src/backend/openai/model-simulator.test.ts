import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { BackendFailure, type Backend, type ModelEvent, type ModelRequest } from '../port.ts';
import { openOpenAiBackend } from './openai-backend.ts';

const patient = { connectMs: 20_000, firstTokenMs: 20_000, betweenTokensMs: 20_000, wholeMs: 25_000 };
const hasty = { ...patient, firstTokenMs: 1_000, betweenTokensMs: 1_000 };

let simulator: ModelSimulator;
let backend: Backend;
beforeAll(async () => {
  simulator = await startModelSimulator();
  backend = openOpenAiBackend({
    name: 'simulated',
    kind: 'openai-compatible',
    url: simulator.baseUrl,
    model: 'simulated',
  });
});
afterAll(async () => {
  await backend?.close();
  await simulator?.stop();
});
beforeEach(() => simulator.clear());

async function ask(content: string, signal = new AbortController().signal, onEvent?: () => void, timeouts = patient) {
  const request: ModelRequest = {
    messages: [{ role: 'user', content }],
    parameters: {},
    passages: [],
    question: content,
  };
  const events: ModelEvent[] = [];
  const sink = {
    event: (event: ModelEvent) => {
      events.push(event);
      onEvent?.();
    },
  };
  try {
    return { events, end: await backend.answer(request, sink, timeouts, signal) };
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    return { events, failure: error };
  }
}

test('a simulated answer is whole, with usage, and its prompt is found in the cache the second time', async () => {
  const question = 'a question long enough to fill a block of the prefix cache, and then some more '.repeat(8);
  const first = await ask(question);
  expect(first.end).toMatchObject({ finish: 'stop', usage: { estimated: false } });
  const again = await ask(question);
  expect(again.end?.usage?.cachedInputTokens).toBeGreaterThan(0);
});

test.each([
  ['reset', 'cut'],
  ['401', 'misconfigured'],
  ['404', 'misconfigured'],
  ['429', 'limited'],
  ['500', 'server'],
  ['context_length_exceeded', 'refused'],
  ['error-body', 'server'],
  ['error-event after=2', 'server'],
  ['hang', 'timeout'],
  ['stall after=2', 'timeout'],
  ['cut after=2', 'cut'],
  ['cut after=2 how=reset', 'cut'],
  ['cut after=2 how=end', 'cut'],
  ['garbage after=2', 'garbage'],
  ['endless-line', 'garbage'],
])('the failure "%s" is told as %s', async (plan, kind) => {
  const told = await ask(`[[sim:${plan}]]`, undefined, undefined, kind === 'timeout' ? hasty : patient);
  expect(told.failure?.kind).toBe(kind);
});

test('cancelling stops the simulated model', async () => {
  const controller = new AbortController();
  const told = await ask('[[sim:endless]]', controller.signal, () => controller.abort());
  expect(told.failure?.kind).toBe('aborted');
  await simulator.until((log) => log.totals.active === 0 && log.totals.aborted > 0);
});
