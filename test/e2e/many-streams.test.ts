import { randomBytes } from 'node:crypto';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { holdCrowd } from '#test/crowd';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startPostgres, type TestPostgres } from '#test/postgres';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let postgres: TestPostgres;
let databaseUrl: string;
let usher: UsherProcess;
const poolMax = 10;
const root = randomBytes(32).toString('base64');

beforeAll(async () => {
  [simulator, postgres] = await Promise.all([startModelSimulator({ cacheBlocks: 0 }), startPostgres()]);
  databaseUrl = await postgres.freshDatabase();
  usher = await startNode();
}, 60_000);
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), postgres?.stop()]);
});

async function startNode(...args: readonly string[]): Promise<UsherProcess> {
  const files = usherFiles([simulator.baseUrl], {
    config: {
      storage: { kind: 'postgres', url: { env: 'USHER_TEST_DATABASE' }, poolMax },
      vault: { rootKeys: [{ env: 'USHER_TEST_ROOT' }] },
    },
  });
  return startUsher({ ...files, args, env: { USHER_TEST_DATABASE: databaseUrl, USHER_TEST_ROOT: root } });
}

test('a thousand stored streams share ten connections, and hold none while their models think', async () => {
  const [streams, tokens] = [1000, 8];
  const { url, apiKey } = usher;
  const asked = { url, apiKey, model: 'usher-test', simulator, databaseUrl, streams, tokens };
  const crowd = await holdCrowd({ ...asked, ratePerSecond: 300, paceMs: 100 });
  expect(crowd.open).toBe(streams);
  // All that is asked meanwhile is that the leases hold, for all together.
  expect(crowd.thinking.busy).toBeLessThanOrEqual(3);
  expect(crowd.thinking.idleShare).toBeGreaterThan(0.5);
  expect(crowd.whole.open).toBeLessThanOrEqual(poolMax);
  expect(crowd.report).toMatchObject({ done: streams, failed: 0 });
  expect(crowd.report.events).toBeGreaterThanOrEqual(streams * tokens);
});

test('a worker that finds a long queue begins all of it as fast as it can, not so many at each look', async () => {
  const turns = 384;
  const { apiKey } = usher;
  await usher.kill();
  await using gateway = await startNode('--role', 'gateway,control');
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey, maxRetries: 0 });
  const body = { model: 'usher-test', input: '[[sim:hang]]', background: true };
  const { id: last } = (await Promise.all(Array.from({ length: turns }, () => client.responses.create(body)))).at(-1)!;
  const { totals: before } = await simulator.log();
  await using worker = await startNode('--role', 'worker');
  await simulator.until(({ totals }) => totals.requests > before.requests, 20_000);
  const firstMs = performance.now();
  await simulator.until(({ totals }) => totals.requests === before.requests + turns, 20_000);
  const tookMs = performance.now() - firstMs;
  // A look comes twice a second and finds 32 of them; no turn ends, which would make it look sooner.
  expect(tookMs).toBeLessThan(((turns / 32) * 500) / 2);
  await simulator.control({ do: 'release' });
  const statusOf = async () => (await client.responses.retrieve(last)).status;
  await expect.poll(statusOf, { timeout: 20_000 }).toBe('completed');
  expect(worker.logs()).not.toContain('"level":50');
});
