import { randomBytes } from 'node:crypto';
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
const streams = 1000;
const tokens = 12;

beforeAll(async () => {
  [simulator, postgres] = await Promise.all([startModelSimulator({ journalMax: 0, cacheBlocks: 0 }), startPostgres()]);
  databaseUrl = await postgres.freshDatabase();
  const files = usherFiles([simulator.baseUrl], {
    config: {
      storage: { kind: 'postgres', url: { env: 'USHER_TEST_DATABASE' }, poolMax },
      vault: { rootKeys: [{ env: 'USHER_TEST_ROOT' }] },
    },
  });
  const env = { USHER_TEST_DATABASE: databaseUrl, USHER_TEST_ROOT: randomBytes(32).toString('base64') };
  usher = await startUsher({ ...files, env });
}, 60_000);
afterAll(async () => {
  await usher?.stop();
  await Promise.all([simulator?.stop(), postgres?.stop()]);
});

test('a thousand stored streams share ten connections, and hold none while their models think', async () => {
  const { url, apiKey } = usher;
  const asked = { url, apiKey, model: 'usher-test', databaseUrl, streams, tokens };
  const crowd = await holdCrowd({ ...asked, ratePerSecond: 250, thinkMs: 7000, paceMs: 100 });
  expect(crowd.open).toBe(streams);
  // All that is asked meanwhile is that the leases hold, for all together.
  expect(crowd.thinking.busy).toBeLessThanOrEqual(3);
  expect(crowd.thinking.idleShare).toBeGreaterThan(0.5);
  expect(crowd.whole.open).toBeLessThanOrEqual(poolMax);
  expect(crowd.report).toMatchObject({ done: streams, failed: 0 });
  expect(crowd.report.events).toBeGreaterThanOrEqual(streams * tokens);
});
