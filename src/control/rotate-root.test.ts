import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SubjectId, TenantId } from '#access';
import type { Store } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openRootKeys, openVault, verifyTenantKeys, type RootKeys } from '#vault';
import { rotateRoot, type RotationStep } from './rotate-root.ts';

const tenants = ['north', 'south', 'west'] as TenantId[];
const ada = 'ada' as SubjectId;
const place = { table: 'items', row: 'msg_1' };

let folder: string;
let store: Store;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-rotate-'));
  store = await openSqliteStore({ path: databaseOf(folder) });
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

const databaseOf = (folder: string) => join(folder, 'usher.db');
const fromFile = (hasTenantKeys = true) => openRootKeys({ dataDir: folder, given: undefined, hasTenantKeys });
const given = (...keys: Uint8Array[]) => openRootKeys({ dataDir: folder, given: keys, hasTenantKeys: true });

async function sealForAll(roots: RootKeys): Promise<Map<TenantId, Uint8Array>> {
  const vault = openVault({ keys: store.system, roots });
  const sealed = new Map<TenantId, Uint8Array>();
  for (const tenant of tenants) sealed.set(tenant, (await vault.subject(tenant, ada)).seal(place, `of ${tenant}`));
  return sealed;
}

async function expectReadable(sealed: Map<TenantId, Uint8Array>, roots: RootKeys): Promise<void> {
  await verifyTenantKeys(store.system, roots);
  const vault = openVault({ keys: store.system, roots });
  for (const [tenant, value] of sealed) {
    expect((await vault.subject(tenant, ada)).openText(place, value)).toBe(`of ${tenant}`);
  }
}

describe('rotating the root key in the data folder', () => {
  test('leaves all content readable under a new root alone', async () => {
    const roots = await fromFile(false);
    const old = roots.current().id;
    const sealed = await sealForAll(roots);
    const steps: RotationStep[] = [];
    const report = await rotateRoot({ keys: store.system, roots, onStep: (step) => steps.push(step) });
    expect(steps).toEqual(['verified', 'added', 'rewrapped', 'dropped']);
    expect(report).toEqual({ current: roots.current().id, rewrapped: 3, retired: [old], resumed: false });
    expect(report.current).not.toBe(old);
    expect(await readFile(join(folder, 'root.key'), 'utf8')).not.toContain(old);
    await expectReadable(sealed, await fromFile());
  });

  test.each<RotationStep>(['verified', 'added', 'rewrapped', 'dropped'])(
    'loses nothing when the process is killed after the step "%s", and the next rotation finishes',
    async (step) => {
      const sealed = await sealForAll(await fromFile(false));
      expect(await rotateAndDie(step)).toBe('SIGKILL');
      await expectReadable(sealed, await fromFile());

      const roots = await fromFile();
      const report = await rotateRoot({ keys: store.system, roots });
      expect(report.resumed).toBe(step === 'added' || step === 'rewrapped');
      expect(report.rewrapped).toBe(step === 'rewrapped' ? 0 : 3);
      expect((await fromFile()).older()).toEqual([]);
      await expectReadable(sealed, await fromFile());
    },
  );

  test('serves on in a node that began before, also for tenants it meets afterwards', async () => {
    const node = await fromFile(false);
    const sealed = await sealForAll(node);
    await rotateRoot({ keys: store.system, roots: await fromFile() });
    await expectReadable(sealed, node);
    await rotateRoot({ keys: store.system, roots: await fromFile() });
    await openVault({ keys: store.system, roots: node }).subject('east' as TenantId, ada);
    await expectReadable(sealed, await fromFile());
  });

  test('lets one of two rotations at once through, and the other says to wait', async () => {
    const sealed = await sealForAll(await fromFile(false));
    const rotations = await Promise.allSettled(
      [await fromFile(), await fromFile()].map((roots) => rotateRoot({ keys: store.system, roots })),
    );
    expect(rotations.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(rotations.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'conflict' } });
    await expectReadable(sealed, await fromFile());
  });

  test('changes nothing when the file no longer opens the tenant keys', async () => {
    await sealForAll(await given(randomBytes(32)));
    const roots = await fromFile(false);
    const path = join(folder, 'root.key');
    await copyFile(path, `${path}.before`);
    const before = await store.system.allTenantKeys();
    await expect(rotateRoot({ keys: store.system, roots })).rejects.toThrow(
      expect.objectContaining({ code: 'config_invalid' }),
    );
    expect(await readFile(path)).toEqual(await readFile(`${path}.before`));
    expect(await store.system.allTenantKeys()).toEqual(before);
  });

  test('changes nothing when the file is damaged', async () => {
    const roots = await fromFile(false);
    await sealForAll(roots);
    await writeFile(join(folder, 'root.key'), '{');
    const before = await store.system.allTenantKeys();
    await expect(rotateRoot({ keys: store.system, roots })).rejects.toThrow(
      expect.objectContaining({ code: 'data_damaged' }),
    );
    expect(await store.system.allTenantKeys()).toEqual(before);
  });
});

describe('rotating to a root key that the configuration gives', () => {
  test('wraps under the first one and names those that may be taken out', async () => {
    const [old, young] = [randomBytes(32), randomBytes(32)];
    const before = await given(old);
    const sealed = await sealForAll(before);
    const report = await rotateRoot({ keys: store.system, roots: await given(young, old) });
    expect(report.retired).toEqual([before.current().id]);
    expect(report.rewrapped).toBe(3);
    await expectReadable(sealed, await given(young));
  });

  test('does nothing without the old one', async () => {
    const sealed = await sealForAll(await given(randomBytes(32).fill(1)));
    await expect(rotateRoot({ keys: store.system, roots: await given(randomBytes(32)) })).rejects.toThrow(
      expect.objectContaining({ code: 'config_invalid' }),
    );
    await expectReadable(sealed, await given(randomBytes(32).fill(1)));
  });
});

/** Rotates in a process of its own that kills itself as soon as the step is done; answers the signal. */
async function rotateAndDie(step: RotationStep): Promise<NodeJS.Signals | null> {
  const program = `(async ([module, dataDir, database, last]) => {
    const { openSqliteStore } = await import('#store/sqlite');
    const { openRootKeys } = await import('#vault');
    const { rotateRoot } = await import(module);
    const store = await openSqliteStore({ path: database });
    const roots = await openRootKeys({ dataDir, given: undefined, hasTenantKeys: true });
    const onStep = (step) => { if (step === last) process.kill(process.pid, 'SIGKILL'); };
    await rotateRoot({ keys: store.system, roots, onStep });
  })(process.argv.slice(1))`;
  const module = new URL('rotate-root.ts', import.meta.url).href;
  const child = spawn(
    process.execPath,
    ['--eval', program, module, folder, databaseOf(folder), step],
    // The folder of package.json, whose doors the program goes through.
    { cwd: new URL('../..', import.meta.url), stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return signal;
}
