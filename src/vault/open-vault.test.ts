import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import type { SubjectId, TenantId } from '#access';
import { openSqliteStore } from '#store/sqlite';
import { memoryKeyStore } from './memory-key-store.fixture.ts';
import { openVault } from './open-vault.ts';
import { openRootKeys } from './root-keys.ts';
import type { KeyStore } from './port.ts';

const north = 'north' as TenantId;
const south = 'south' as TenantId;
const ada = 'ada' as SubjectId;
const bob = 'bob' as SubjectId;
const place = { table: 'items', row: 'msg_1' };
const damaged = expect.objectContaining({ code: 'data_damaged' });

const givenRoots = (bytes: Uint8Array = randomBytes(32)) =>
  openRootKeys({ dataDir: '/nowhere', given: [bytes], hasTenantKeys: false });

async function freshVault(keys: KeyStore = memoryKeyStore(), root: Uint8Array = randomBytes(32)) {
  return openVault({ keys, roots: await givenRoots(root) });
}

describe('the vault', () => {
  test('opens what it sealed, also after a restart over the same store', async () => {
    const keys = memoryKeyStore();
    const root = randomBytes(32);
    const before = await (await freshVault(keys, root)).subject(north, ada);
    const text = before.seal(place, 'Grüße, 世界');
    const bytes = before.seal(place, Uint8Array.of(0, 255, 1));
    const after = await (await freshVault(keys, root)).subject(north, ada);
    expect(after.openText(place, text)).toBe('Grüße, 世界');
    expect(after.open(place, bytes)).toEqual(Buffer.of(0, 255, 1));
  });

  test('never opens a value of one subject for another, of the same or another tenant', async () => {
    const vault = await freshVault();
    const sealed = (await vault.subject(north, ada)).seal(place, 'for Ada alone');
    for (const [tenant, subject] of [
      [north, bob],
      [south, ada],
      [north, null],
      [south, null],
    ] as const) {
      const other = await vault.subject(tenant, subject);
      expect(() => other.open(place, sealed)).toThrow(damaged);
    }
  });

  test('keeps the content of the tenant itself apart from a subject of any name', async () => {
    const vault = await freshVault();
    const sealed = (await vault.subject(north, null)).seal(place, 'a release');
    expect((await vault.subject(north, null)).openText(place, sealed)).toBe('a release');
    for (const name of ['null', '', 'undefined']) {
      const subject = await vault.subject(north, name as SubjectId);
      expect(() => subject.open(place, sealed)).toThrow(damaged);
    }
  });

  test('makes one key when a subject is first used many times at once, on several nodes', async () => {
    const keys = memoryKeyStore();
    const root = randomBytes(32);
    const nodes = await Promise.all(Array.from({ length: 4 }, () => freshVault(keys, root)));
    const vaults = await Promise.all(
      nodes.flatMap((node) => Array.from({ length: 8 }, () => node.subject(north, ada))),
    );
    expect(keys.written).toEqual({ tenantKeys: 1, subjectKeys: 1 });
    const sealed = vaults[0]!.seal(place, 'one key');
    for (const vault of vaults) expect(vault.openText(place, sealed)).toBe('one key');
  });

  test('agrees on one key with another process over the same database', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'usher-vault-'));
    const path = join(folder, 'usher.db');
    const root = randomBytes(32);
    const stores = [await openSqliteStore({ path }), await openSqliteStore({ path })];
    try {
      const nodes = await Promise.all(stores.map((store) => freshVault(store.system, root)));
      const subjects = Array.from({ length: 5 }, (_, index) => `subject-${index}` as SubjectId);
      for (const subject of subjects) {
        const [one, other] = await Promise.all(nodes.map((node) => node.subject(north, subject)));
        expect(other!.openText(place, one!.seal(place, 'agreed'))).toBe('agreed');
      }
    } finally {
      await Promise.all(stores.map((store) => store.close()));
      await rm(folder, { recursive: true, force: true });
    }
  });

  test('asks the store again after it failed', async () => {
    const keys = memoryKeyStore();
    let failures = 1;
    const flaky: KeyStore = {
      ...keys,
      tenantKey: async (tenant) => {
        if (failures > 0) {
          failures -= 1;
          throw new Error('the store is away');
        }
        return keys.tenantKey(tenant);
      },
    };
    const vault = await freshVault(flaky);
    await expect(vault.subject(north, ada)).rejects.toThrow('the store is away');
    await expect(vault.subject(north, ada)).resolves.toBeDefined();
  });

  test('refuses a wrapped key that was moved to another subject or tenant', async () => {
    const keys = memoryKeyStore();
    const root = randomBytes(32);
    const vault = await freshVault(keys, root);
    await vault.subject(north, ada);
    await vault.subject(south, ada);
    const moved: KeyStore = {
      ...keys,
      subjectKey: () => keys.subjectKey(north, ada),
    };
    await expect((await freshVault(moved, root)).subject(north, bob)).rejects.toThrow(damaged);
    const swapped: KeyStore = { ...keys, tenantKey: () => keys.tenantKey(south) };
    await expect((await freshVault(swapped, root)).subject(north, ada)).rejects.toThrow(damaged);
    await expect((await freshVault(swapped, root)).derive(north, 'user-token')).rejects.toThrow(damaged);
  });

  test('says which root key is missing when it was given another one', async () => {
    const keys = memoryKeyStore();
    await (await freshVault(keys)).subject(north, ada);
    await expect((await freshVault(keys)).subject(north, ada)).rejects.toThrow(
      expect.objectContaining({ code: 'config_invalid', message: expect.stringMatching(/root-[0-9a-f]{16}/) }),
    );
  });

  test('derives a key per tenant and purpose, the same after a restart', async () => {
    const keys = memoryKeyStore();
    const root = randomBytes(32);
    const vault = await freshVault(keys, root);
    const derived = await vault.derive(north, 'user-token');
    expect(derived).toHaveLength(32);
    expect(await (await freshVault(keys, root)).derive(north, 'user-token')).toEqual(derived);
    expect(await vault.derive(north, 'visitor')).not.toEqual(derived);
    expect(await vault.derive(south, 'user-token')).not.toEqual(derived);
  });

  test('shows no key when it is printed', async () => {
    const root = randomBytes(32);
    const keys = memoryKeyStore();
    const roots = await givenRoots(root);
    const vault = openVault({ keys, roots });
    const subject = await vault.subject(north, ada);
    const shown = inspect([roots, roots.current(), vault, subject], { depth: 10, showHidden: true });
    expect(shown).not.toContain(root.toString('hex'));
    expect(shown).not.toContain(inspect(root).slice(8, 40));
  });
});
