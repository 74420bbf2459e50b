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
let keys: Record<'frugal' | 'narrow' | 'visited' | 'batch' | 'modest', string>;

beforeAll(async () => {
  simulator = await startModelSimulator();
  const assistants = [{ name: assistant, folder: `./${assistant}` }];
  const { config, files } = usherFiles([simulator.baseUrl], {
    assistants: { [assistant]: {}, desk: { spec: { limits: { turnsPerMinutePerUser: 2 } } } },
    config: {
      tenants: [
        { id: 'frugal', assistants, limits: { requestsPerMinute: 3, concurrency: 100 } },
        { id: 'narrow', assistants, limits: { requestsPerMinute: 10_000, concurrency: 1 } },
        {
          id: 'visited',
          assistants: [{ name: 'desk', folder: './desk' }],
          limits: { requestsPerMinute: 8, concurrency: 100 },
        },
        { id: 'batch', assistants, limits: { requestsPerMinute: 10_000, concurrency: 4 } },
        { id: 'modest', assistants, limits: { requestsPerMinute: 10_000, concurrency: 4 } },
      ],
    },
  });
  usher = await startUsher({ config, files });
  keys = {
    frugal: usher.apiKey,
    narrow: await keyOf('narrow'),
    visited: await keyOf('visited'),
    batch: await keyOf('batch'),
    modest: await keyOf('modest'),
  };
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

function send(path: string, credential: string, body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(usher.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal && { signal }),
  });
}

function ask(key: string, signal?: AbortSignal): Promise<Response> {
  return send(
    '/v1/chat/completions',
    key,
    { model: assistant, messages: [{ role: 'user', content: 'Which row?' }] },
    signal,
  );
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

describe('a visitor of a page', () => {
  const asks = (credential: string, more: object = {}): Promise<Response> =>
    send('/v1/responses', credential, { model: 'desk', input: 'Which row?', ...more });
  const person = async (): Promise<string> => {
    const { token } = (await (await send('/chat/desk/visit', '', {})).json()) as { token: string };
    return token;
  };

  test('spends nothing of the tenant by what is refused, and leaves applications a quarter of it', async () => {
    const unknown = { previous_response_id: `resp_${'0'.repeat(32)}` };
    const beyond = await person();
    for (const status of [400, 400, 429]) expect((await asks(beyond, unknown)).status).toBe(status);
    const one = await person();
    const statuses: number[] = [];
    for (let times = 0; times < 20; times += 1) statuses.push((await asks(one)).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(2);
    for (const next of [await person(), await person()]) {
      for (let times = 0; times < 2; times += 1) expect((await asks(next)).status).toBe(200);
    }
    const refused = await asks(await person());
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after-ms'))).toBeGreaterThan(0);
    for (const status of [400, 400, 400]) expect((await asks(keys.visited, unknown)).status).toBe(status);
    for (const status of [200, 200, 429]) expect((await asks(keys.visited)).status).toBe(status);
  });
});

describe('background turns', () => {
  const take = async (key: string): Promise<string> => {
    const body = { model: assistant, input: 'Which row?', background: true };
    return ((await (await send('/v1/responses', key, body)).json()) as { id: string }).id;
  };
  const status = async (key: string, id: string): Promise<string> => {
    const headers = { authorization: `Bearer ${key}` };
    return ((await (await fetch(`${usher.url}/v1/responses/${id}`, { headers })).json()) as { status: string }).status;
  };

  test("wait for half of their tenant's places, and keep no other tenant waiting", async () => {
    await simulator.planAll({ fault: { kind: 'hang' } });
    const many = await Promise.all(Array.from({ length: 40 }, () => take(keys.batch)));
    await simulator.until((log) => log.totals.active >= 2);
    const other = await take(keys.modest);
    await expect.poll(() => status(keys.modest, other), { timeout: 10_000 }).toBe('in_progress');
    await simulator.until((log) => log.totals.active >= 3);
    // Whoever waits for an answer has the other half.
    await simulator.clear();
    expect((await ask(keys.batch)).status).toBe(200);
    expect((await simulator.log()).totals.active).toBe(3);
    await simulator.control({ do: 'release' });
    for (const id of many) await expect.poll(() => status(keys.batch, id), { timeout: 20_000 }).toBe('completed');
    expect(await status(keys.modest, other)).toBe('completed');
  });
});
