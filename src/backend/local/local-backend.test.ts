import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BackendFailure, type Backend, type ModelEvent, type ModelRequest } from '../port.ts';
import { installLocalRuntime } from './install-runtime.ts';
import { openLocalBackend } from './local-backend.ts';

const modelPath = process.env['USHER_TEST_GGUF'];
const givenRuntime = process.env['USHER_TEST_LLAMA_RUNTIME'];
const timeouts = { connectMs: 5_000, firstTokenMs: 120_000, betweenTokensMs: 60_000, wholeMs: 240_000 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-local-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a local model that cannot run is told when it is opened', () => {
  test('without the runtime, with the mend', async () => {
    const opening = openLocalBackend({ name: 'local', modelPath: '/nowhere.gguf', runtimeDir: folder });
    await expect(opening).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('usher model'),
    });
  });

  test('where the runtime does not start', async () => {
    const broken = join(folder, 'broken');
    const home = join(broken, 'node_modules', 'node-llama-cpp');
    await mkdir(home, { recursive: true });
    await writeFile(join(broken, 'package.json'), '{}');
    await writeFile(join(broken, 'installed.json'), '{}');
    await writeFile(join(home, 'package.json'), '{"version":"3.22.1","main":"index.js"}');
    await writeFile(join(home, 'index.js'), 'throw new Error("no library for this machine")');
    const file = join(folder, 'model.gguf');
    await writeFile(file, 'GGUF');
    const opening = openLocalBackend({ name: 'local', modelPath: file, runtimeDir: broken });
    await expect(opening).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('runtime does not start'),
    });
  });
});

const why = modelPath === undefined ? ' (skipped: USHER_TEST_GGUF names no GGUF file)' : '';

describe.skipIf(modelPath === undefined)(`a real model in its own process${why}`, () => {
  let runtimeDir: string;
  let backend: Backend;

  beforeAll(async () => {
    runtimeDir = join(folder, 'runtime');
    if (givenRuntime === undefined) {
      await installLocalRuntime({ dir: runtimeDir });
    } else {
      await mkdir(runtimeDir);
      await writeFile(join(runtimeDir, 'package.json'), '{}');
      await writeFile(join(runtimeDir, 'installed.json'), '{}');
      await symlink(join(givenRuntime, 'node_modules'), join(runtimeDir, 'node_modules'));
    }
    backend = await openLocalBackend({ name: 'local', modelPath: modelPath!, contextTokens: 1_024, runtimeDir });
  }, 300_000);
  afterAll(() => backend?.close());

  async function ask(question: string, parameters: ModelRequest['parameters'], more: Partial<ModelRequest> = {}) {
    const events: ModelEvent[] = [];
    const request: ModelRequest = {
      messages: [
        { role: 'system', content: 'You are a helpful assistant.' },
        { role: 'user', content: question },
      ],
      parameters,
      passages: [],
      question,
      ...more,
    };
    const end = await backend.answer(
      request,
      { event: (event) => void events.push(event) },
      timeouts,
      new AbortController().signal,
    );
    return { end, text: events.map((event) => (event.type === 'text' ? event.text : '')).join(''), events };
  }

  test('answers in pieces, with its usage, and knows a common prompt again', async () => {
    const question = 'What is the capital of France? Answer in one short sentence.';
    const first = await ask(question, { maxOutputTokens: 40, temperature: 0 });
    expect(first.text).toContain('Paris');
    expect(first.events.length).toBeGreaterThan(1);
    expect(first.end.usage?.inputTokens).toBeGreaterThan(15);
    expect(first.end.usage?.outputTokens).toBeGreaterThan(2);
    expect(first.end.usage?.outputTokens).toBeLessThanOrEqual(41);
    const again = await ask(question, { maxOutputTokens: 40, temperature: 0 });
    expect(again.text).toBe(first.text);
    expect(again.end.usage?.cachedInputTokens).toBeGreaterThan(10);
  }, 240_000);

  test('keeps to the tokens it may spend', async () => {
    const { end } = await ask('Tell me a long story about the sea.', { maxOutputTokens: 8 });
    expect(end.finish).toBe('length');
    expect(end.usage?.outputTokens).toBeLessThanOrEqual(9);
  }, 240_000);

  test('writes JSON where it is asked for', async () => {
    const schema = { type: 'object', properties: { answer: { type: 'string', maxLength: 20 } } };
    const { text } = await ask(
      'Say hello.',
      { maxOutputTokens: 120, temperature: 0 },
      {
        format: { type: 'schema', name: 'reply', schema, strict: true },
      },
    );
    expect(JSON.parse(text)).toHaveProperty('answer');
  }, 240_000);

  test('refuses a prompt longer than its context, and goes on serving', async () => {
    await expect(ask('word '.repeat(3_000), {})).rejects.toMatchObject({
      kind: 'refused',
      backendCode: 'context_length_exceeded',
    });
    expect((await ask('Say hi.', { maxOutputTokens: 4 })).events.length).toBeGreaterThan(0);
  }, 240_000);

  test('stops when it is cancelled, and takes the next question', async () => {
    const controller = new AbortController();
    const question = 'Count from one to one thousand in words.';
    const request: ModelRequest = {
      messages: [{ role: 'user', content: question }],
      parameters: {},
      passages: [],
      question,
    };
    const answering = backend.answer(request, { event: () => controller.abort() }, timeouts, controller.signal);
    await expect(answering).rejects.toMatchObject({ kind: 'aborted' });
    expect((await ask('Say hi.', { maxOutputTokens: 4 })).events.length).toBeGreaterThan(0);
  }, 240_000);

  test('answers one after the other, and sends those beyond its line away with a time to come back', async () => {
    const asked = Array.from({ length: 12 }, () => ask('Say hi.', { maxOutputTokens: 30, temperature: 0 }));
    const settled = await Promise.allSettled(asked);
    const answers = settled.filter((told) => told.status === 'fulfilled').map((told) => told.value.text);
    const refusals = settled.filter((told) => told.status === 'rejected').map((told) => told.reason as unknown);
    expect(answers.length).toBeGreaterThanOrEqual(9);
    expect(new Set(answers).size).toBe(1);
    expect(refusals.length).toBeGreaterThan(0);
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ kind: 'limited', limits: { retryAfterMs: 5_000 } });
    }
  }, 240_000);

  test('tells its name when it is probed', async () => {
    const { models } = await backend.probe(new AbortController().signal);
    expect(models[0]).toMatch(/\.gguf$/);
  });

  test.skipIf(process.platform !== 'linux')(
    'comes back after its process was killed',
    async () => {
      const pid = await hostPid();
      process.kill(pid, 'SIGKILL');
      let text: string | undefined;
      while (text === undefined) {
        await sleep(100);
        text = await ask('Say hi.', { maxOutputTokens: 4 }).then(
          (told) => told.text,
          (error: unknown) => {
            expect(error).toBeInstanceOf(BackendFailure);
            return undefined;
          },
        );
      }
      expect(await hostPid()).not.toBe(pid);
    },
    240_000,
  );

  test.skipIf(process.platform !== 'linux')('ends with its backend', async () => {
    const pid = await hostPid();
    await backend.close();
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });

  /** The one child of this process that runs the host. */
  async function hostPid(): Promise<number> {
    for (const entry of await readdir('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      const line = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
      const status = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
      if (line.includes('local/host.') && status.split(') ')[1]?.split(' ')[1] === String(process.pid))
        return Number(entry);
    }
    throw new Error('no host runs');
  }
});
