import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock, type Clock } from '#base';
import { checkApiKey, hashApiKey, type Scope, type TenantId } from '#access';
import type { Store } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { manageKeys, type KeyManagement, type NewApiKey } from './manage-keys.ts';

const wish: NewApiKey = { name: 'billing service', scopes: ['talk'], expiresAtMs: null };

/** One store for all tests, two tenants of its own for each. */
let folder: string;
let store: Store;
let north: TenantId;
let south: TenantId;
let tests = 0;
let nowMs: number;
let keys: KeyManagement;
const clock: Clock = { wallMs: () => nowMs, monotonicMs: () => systemClock.monotonicMs() };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-keys-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  keys = manageKeys({ system: store.system, clock });
});
afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  tests += 1;
  north = `north-${tests}` as TenantId;
  south = `south-${tests}` as TenantId;
  nowMs = 1_800_000_000_000;
});

describe('creating a key', () => {
  test('answers the whole key once and keeps only its hash', async () => {
    const { key, view } = await keys.create(north, wish, 'cli');
    expect(checkApiKey(key)).toBe(true);
    expect(key.startsWith(view.prefix)).toBe(true);
    expect((await store.system.apiKeyByHash(hashApiKey(key)))?.id).toBe(view.id);
    expect(JSON.stringify([view, await keys.list(north)])).not.toContain(key.slice(view.prefix.length));
    for (const name of await readdir(folder)) {
      const bytes = await readFile(join(folder, name), 'latin1');
      expect(bytes).not.toContain(key.slice(view.prefix.length));
    }
  });

  test('is told in the audit of the tenant, by whom and which', async () => {
    const { view } = await keys.create(north, wish, 'key:key_1');
    expect(await store.system.audit(north, 10)).toEqual([
      expect.objectContaining({
        actor: 'key:key_1',
        action: 'key.create',
        target: view.id,
        atMs: nowMs,
        tenant: north,
      }),
    ]);
    expect(await store.system.audit(south, 10)).toEqual([]);
  });

  test.each<[string, string, NewApiKey]>([
    ['without a name', 'name', { ...wish, name: '  ' }],
    ['with an endless name', 'name', { ...wish, name: 'x'.repeat(101) }],
    ['with a name that writes to the terminal', 'name', { ...wish, name: 'a\u001b[2J' }],
    ['without a scope', 'scopes', { ...wish, scopes: [] }],
    ['with a scope that there is not', 'scopes', { ...wish, scopes: ['talk', 'root' as Scope] }],
    ['that has expired', 'expiresAtMs', { ...wish, expiresAtMs: 1_800_000_000_000 }],
    ['that expires at no time', 'expiresAtMs', { ...wish, expiresAtMs: Number.NaN }],
  ])('is refused %s, and nothing is stored', async (_, param, bad) => {
    await expect(keys.create(north, bad, 'cli')).rejects.toThrow(
      expect.objectContaining({ code: 'invalid_request', param }),
    );
    expect(await keys.list(north)).toEqual([]);
    expect(await store.system.audit(north, 10)).toEqual([]);
  });
});

describe('listing and revoking', () => {
  test('lists the keys of one tenant, newest first, with what became of them', async () => {
    const first = await keys.create(north, wish, 'cli');
    nowMs += 1_000;
    const second = await keys.create(
      north,
      { name: 'second', scopes: ['manage', 'talk', 'talk'], expiresAtMs: nowMs + 9 },
      'cli',
    );
    await keys.create(south, wish, 'cli');
    nowMs += 1_000;
    await keys.revoke(north, first.view.id, 'cli');
    expect(await keys.list(north)).toEqual([
      { ...second.view, scopes: ['manage', 'talk'] },
      { ...first.view, revokedAtMs: nowMs },
    ]);
  });

  test('revokes once, by its own tenant only, and tells it in the audit', async () => {
    const { view } = await keys.create(north, wish, 'cli');
    const missing = expect.objectContaining({ code: 'not_found' });
    await expect(keys.revoke(south, view.id, 'cli')).rejects.toThrow(missing);
    await keys.revoke(north, view.id, 'key:key_2');
    await expect(keys.revoke(north, view.id, 'cli')).rejects.toThrow(missing);
    await expect(keys.revoke(north, "key_' OR 1=1 --" as typeof view.id, 'cli')).rejects.toThrow(missing);
    const actions = (await store.system.audit(north, 10)).map(({ action, actor }) => `${action} by ${actor}`);
    expect(actions.toSorted()).toEqual(['key.create by cli', 'key.revoke by key:key_2']);
  });
});
