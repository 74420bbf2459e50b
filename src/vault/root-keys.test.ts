import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SubjectId, TenantId } from '#access';
import { memoryKeyStore } from './memory-key-store.fixture.ts';
import { openVault } from './open-vault.ts';
import { createKeyringFile } from './keyring-file.ts';
import { rootKey } from './root-key.ts';
import { openRootKeys } from './root-keys.ts';
import { rewrapTenantKeys, verifyTenantKeys } from './tenant-keys.ts';

const north = 'north' as TenantId;
const ada = 'ada' as SubjectId;

let dataDir: string;
let path: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'usher-root-'));
  path = join(dataDir, 'root.key');
});
afterEach(() => rm(dataDir, { recursive: true, force: true }));

const fromFile = (hasTenantKeys = false) => openRootKeys({ dataDir, given: undefined, hasTenantKeys });
const given = (...keys: Uint8Array[]) => openRootKeys({ dataDir, given: keys, hasTenantKeys: true });
const refusal = (code: string, mend: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(mend) as string });

describe('the root key file', () => {
  test('is made at the first start, for its owner alone, and read at the next', async () => {
    const first = await fromFile();
    const again = await fromFile(true);
    expect(again.current().id).toBe(first.current().id);
    expect(again.current().key.equals(first.current().key)).toBe(true);
    if (process.platform !== 'win32') expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(dataDir)).toEqual(['root.key']);
  });

  test('is one and the same for many starts at once in one process', async () => {
    const ids = (await Promise.all(Array.from({ length: 20 }, () => fromFile()))).map((roots) => roots.current().id);
    expect(new Set(ids).size).toBe(1);
    expect(await readdir(dataDir)).toEqual(['root.key']);
  });

  test('stays as it is when another start made it first', async () => {
    const first = await fromFile();
    const standing = await createKeyringFile(path, rootKey(randomBytes(32)));
    expect(standing.map(({ id }) => id)).toEqual([first.current().id]);
    expect((await fromFile()).current().id).toBe(first.current().id);
    expect(await readdir(dataDir)).toEqual(['root.key']);
  });

  test('is one and the same for several processes that start at once', async () => {
    const program = `
      const { openRootKeys } = await import(${JSON.stringify(new URL('./root-keys.ts', import.meta.url).href)});
      const roots = await openRootKeys({ dataDir: process.argv[1], given: undefined, hasTenantKeys: false });
      console.log(roots.current().id);`;
    const start = async () => {
      const child = spawn(process.execPath, ['--input-type=module', '--eval', program, dataDir], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
      expect(code).toBe(0);
      return output;
    };
    const ids = await Promise.all(Array.from({ length: 4 }, start));
    expect(new Set(ids).size).toBe(1);
  });

  test('stops the start when it is missing but the database has tenant keys, and makes no new one', async () => {
    await expect(fromFile(true)).rejects.toThrow(refusal('data_damaged', /backup/));
    expect(await readdir(dataDir)).toEqual([]);
  });

  test.each([
    ['cut short', (whole: string) => whole.slice(0, -20)],
    ['empty', () => ''],
    ['with one character of the key changed', (whole: string) => whole.replace(/("key": ")(.)/, '$1/')],
    ['with a key of another size', (whole: string) => whole.replace(/("key": ").{8}/, '$1')],
    ['with no key', (whole: string) => whole.replace(/"keys": \[[^\]]*\]/, '"keys": []')],
    ['of a newer format', (whole: string) => whole.replace('"format": 1', '"format": 2')],
  ])('stops the start when it is %s, and stays as it is', async (_, damage) => {
    await fromFile();
    const broken = damage((await readFile(path, 'utf8')).replace('"key": "/', '"key": "A'));
    await writeFile(path, broken);
    await expect(fromFile()).rejects.toThrow(refusal('data_damaged', /backup/));
    await expect(fromFile(true)).rejects.toThrow(refusal('data_damaged', /backup/));
    expect(await readFile(path, 'utf8')).toBe(broken);
  });

  test('stops the start when it is far too large', async () => {
    await fromFile();
    await truncate(path, 2 ** 31);
    await expect(fromFile()).rejects.toThrow(refusal('data_damaged', /backup/));
  });

  test.skipIf(process.platform === 'win32').each([0o640, 0o604, 0o620])(
    'stops the start when others may use it, mode %o',
    async (mode) => {
      await fromFile();
      await chmod(path, mode);
      await expect(fromFile()).rejects.toThrow(refusal('config_invalid', /chmod 600/));
    },
  );

  test('stops the start when a folder stands in its place, or none can be made', async () => {
    await mkdir(path, { mode: 0o700 });
    await expect(fromFile()).rejects.toThrow(refusal('data_damaged', /backup/));
    await rm(path, { recursive: true });
    await writeFile(join(dataDir, 'file'), '');
    const below = openRootKeys({ dataDir: join(dataDir, 'file'), given: undefined, hasTenantKeys: false });
    await expect(below).rejects.toThrow(refusal('config_invalid', /user that runs Usher/));
  });

  test('never tells a key in what it says', async () => {
    await fromFile();
    const whole = await readFile(path, 'utf8');
    const key = /"key": "([^"]+)"/.exec(whole)![1]!;
    await writeFile(path, whole.replace(/root-[0-9a-f]{16}/, 'root-0000000000000000'));
    await expect(fromFile()).rejects.toThrow(expect.not.stringContaining(key.slice(0, 8)));
  });

  test('keeps a second rotation out while one runs', async () => {
    const { keyring } = await fromFile();
    const other = await fromFile();
    const lock = keyring!.lock();
    expect(() => other.keyring!.lock()).toThrow(refusal('conflict', /Wait/));
    lock[Symbol.dispose]();
    other.keyring!.lock()[Symbol.dispose]();
  });

  test('says what to do when no lock can be made', async () => {
    const { keyring } = await fromFile();
    await mkdir(`${path}.lock`);
    expect(() => keyring!.lock()).toThrow(refusal('config_invalid', /cannot be written/));
  });

  test('takes a new root in front and drops the older ones, leaving no draft', async () => {
    const roots = await fromFile();
    const old = roots.current();
    await writeFile(`${path}.draft-of-a-start-that-died`, 'half a key');
    await roots.keyring!.add();
    expect((await fromFile()).find(old.id)).toBeDefined();
    await roots.keyring!.dropOlder();
    const standing = await fromFile();
    expect(standing.current().id).toBe(roots.current().id);
    expect(standing.find(old.id)).toBeUndefined();
    expect(await readdir(dataDir)).toEqual(['root.key']);
    if (process.platform !== 'win32') expect((await stat(path)).mode & 0o777).toBe(0o600);
  });
});

describe('root keys from the configuration', () => {
  test('are used in their order, and no file is made', async () => {
    const [first, second] = [randomBytes(32), randomBytes(32)];
    const roots = await given(first, second);
    expect(roots.current().key.export()).toEqual(first);
    expect(roots.keyring).toBeUndefined();
    expect(await readdir(dataDir)).toEqual([]);
  });

  test.each([0, 16, 31, 33, 64])('are refused with %i bytes', async (size) => {
    await expect(given(randomBytes(size))).rejects.toThrow(refusal('config_invalid', /32 bytes/));
  });

  test('are refused when there is none', async () => {
    await expect(given()).rejects.toThrow(refusal('config_invalid', /empty/));
  });
});

describe('verifying every tenant key at start', () => {
  test('passes for the right root and for an older one that is still given', async () => {
    const [old, young] = [randomBytes(32), randomBytes(32)];
    const keys = memoryKeyStore();
    await openVault({ keys, roots: await given(old) }).subject(north, ada);
    await expect(verifyTenantKeys(keys, await given(old))).resolves.toBeUndefined();
    await expect(verifyTenantKeys(keys, await given(young, old))).resolves.toBeUndefined();
  });

  test('stops for another root, naming both', async () => {
    const keys = memoryKeyStore();
    await openVault({ keys, roots: await given(randomBytes(32)) }).subject(north, ada);
    await expect(verifyTenantKeys(keys, await given(randomBytes(32)))).rejects.toThrow(
      refusal('config_invalid', /root-.*root-/),
    );
  });

  test('stops for a tenant key that was changed', async () => {
    const keys = memoryKeyStore();
    const roots = await given(randomBytes(32));
    await openVault({ keys, roots }).subject(north, ada);
    const [row] = await keys.allTenantKeys();
    const wrapped = Buffer.from(row!.key.wrapped);
    wrapped[20]! ^= 1;
    await keys.replaceTenantKeys([{ tenant: north, key: { ...row!.key, wrapped } }]);
    await expect(verifyTenantKeys(keys, roots)).rejects.toThrow(refusal('data_damaged', /backup/));
  });
});

describe('wrapping tenant keys anew', () => {
  test('leaves all content readable under the new root alone', async () => {
    const [old, young] = [randomBytes(32), randomBytes(32)];
    const keys = memoryKeyStore();
    const place = { table: 'items', row: '1' };
    const sealed = (await openVault({ keys, roots: await given(old) }).subject(north, ada)).seal(place, 'kept');
    expect(await rewrapTenantKeys(keys, await given(young, old))).toBe(1);
    expect(await rewrapTenantKeys(keys, await given(young, old))).toBe(0);
    const vault = openVault({ keys, roots: await given(young) });
    expect((await vault.subject(north, ada)).openText(place, sealed)).toBe('kept');
  });

  test('lets a running node that knows only the old root read the file again', async () => {
    const keys = memoryKeyStore();
    const node = await fromFile();
    const place = { table: 'items', row: '1' };
    const sealed = (await openVault({ keys, roots: node }).subject(north, ada)).seal(place, 'kept');
    const rotating = await fromFile();
    await rotating.keyring!.add();
    await rewrapTenantKeys(keys, rotating);
    await rotating.keyring!.dropOlder();
    const vault = openVault({ keys, roots: node });
    expect((await vault.subject(north, ada)).openText(place, sealed)).toBe('kept');
    await vault.subject('south' as TenantId, ada);
    await expect(verifyTenantKeys(keys, await fromFile())).resolves.toBeUndefined();
  });
});
