import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const assistant = 'guide';
const minuteMs = 60_000;

let simulator: ModelSimulator;
let usher: UsherProcess;
let keys: Record<'frugal' | 'narrow', string>;

beforeAll(async () => {
  simulator = await startModelSimulator();
  const assistants = [{ name: assistant, folder: `./${assistant}` }];
  const { config, files } = usherFiles([simulator.baseUrl], {
    assistants: { [assistant]: {} },
    config: {
      tenants: [
        { id: 'frugal', assistants, limits: { requestsPerMinute: 3, concurrency: 100 } },
        { id: 'narrow', assistants, limits: { requestsPerMinute: 10_000, concurrency: 1 } },
      ],
    },
  });
  usher = await startUsher({ config, files });
  keys = { frugal: usher.apiKey, narrow: await keyOf('narrow') };
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

async function keyOf(tenant: string): Promise<string> {
  const where = ['--config', join(usher.home, 'usher.yaml'), '--data', usher.dataDir];
  const create = [launcher, 'keys', 'create', '--tenant', tenant, '--json', ...where];
  const { stdout } = await promisify(execFile)(process.execPath, create);
  return (JSON.parse(stdout) as { key: string }).key;
}

function ask(key: string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${usher.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: assistant, messages: [{ role: 'user', content: 'Which row?' }] }),
    ...(signal && { signal }),
  });
}

describe("a tenant's limits", () => {
  test('requests per minute: the one too many is told when there is room again, and shown to no model', async () => {
    const beforeMs = performance.now();
    expect((await ask(keys.frugal)).status).toBe(200);
    const afterMs = performance.now();
    for (let more = 0; more < 2; more += 1) expect((await ask(keys.frugal)).status).toBe(200);
    const { totals } = await simulator.log();
    const sentMs = performance.now();
    const refused = await ask(keys.frugal);
    const heardMs = performance.now();
    expect(refused.status).toBe(429);
    expect(await refused.json()).toEqual({
      error: {
        type: 'rate_limit_error',
        code: 'rate_limit_exceeded',
        param: null,
        message: "The tenant's limit of requests per minute is reached. Repeat after the time in Retry-After.",
      },
    });
    // Honest: a minute after the first of the three, neither sooner nor later.
    const waitMs = Number(refused.headers.get('retry-after-ms'));
    expect(Number(refused.headers.get('retry-after'))).toBe(Math.ceil(waitMs / 1000));
    expect(heardMs + waitMs).toBeGreaterThanOrEqual(beforeMs + minuteMs);
    expect(sentMs + waitMs).toBeLessThanOrEqual(afterMs + minuteMs + 1);
    expect(refused.headers.get('x-should-retry')).toBeNull();
    expect((await simulator.log()).totals.requests).toBe(totals.requests);
  });

  test('requests at once: the second is refused with a time, and has its place when the first ends or leaves', async () => {
    for (const leaves of [false, true]) {
      await simulator.plan({ fault: { kind: 'hang' } });
      const leaving = new AbortController();
      const first = ask(keys.narrow, leaving.signal).catch(() => undefined);
      await simulator.until((log) => log.totals.active === 1);
      const refused = await ask(keys.narrow);
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(0);
      const { error } = (await refused.json()) as { error: { message: string } };
      expect(error.message).toContain('requests at once');
      if (leaves) leaving.abort();
      else await simulator.control({ do: 'release' });
      await first;
      await expect.poll(async () => (await ask(keys.narrow)).status, { timeout: 5000 }).toBe(200);
    }
  });

  test('one tenant at its limit takes nothing from another', async () => {
    expect((await ask(keys.frugal)).status).toBe(429);
    expect((await ask(keys.narrow)).status).toBe(200);
  });
});
