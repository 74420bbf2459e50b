import { randomBytes } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { UsherError } from '#base';
import { rootKey, type RootKey } from './root-key.ts';

const keyringSchema = z.strictObject({
  about: z.string(),
  format: z.literal(1),
  /** Current first. The id repeats what follows from the key, so that damage is seen. */
  keys: z.array(z.strictObject({ id: z.string(), key: z.base64() })).min(1),
});

const about =
  'Root keys of Usher. Whoever holds this file and the database can read everything; without it nobody can. Back it up apart from the database.';
const bytesMax = 65_536;
const sqliteBusy = 5;
/** Windows has no mode bits and cannot open a folder to sync it. */
const posix = process.platform !== 'win32';

/**
 * The keys of the file, current first; undefined where there is none.
 * @throws UsherError `config_invalid` when others may read it, `data_damaged` when it is not whole.
 */
export async function readKeyringFile(path: string): Promise<readonly RootKey[] | undefined> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw new UsherError('config_invalid', `${path} cannot be opened. Make it readable for the user that runs Usher.`, {
      cause: error,
    });
  });
  if (handle === undefined) return undefined;
  await using file = handle;
  const stats = await file.stat();
  const { mode, size } = stats;
  if (posix && (mode & 0o077) !== 0) {
    throw new UsherError('config_invalid', `${path} may be read by other users. Close it with: chmod 600 ${path}`);
  }
  if (!stats.isFile() || size > bytesMax) throw damaged(path);
  return parseKeyring(path, await file.readFile('utf8'));
}

/**
 * Makes the file unless another start was faster; answers the keys that stand.
 * @throws UsherError `storage_full`, `config_invalid` when the folder does not take it.
 */
export async function createKeyringFile(path: string, first: RootKey): Promise<readonly RootKey[]> {
  await writing(path, async () => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const draft = await writeDraft(path, [first]);
    try {
      // A link never replaces: of several starts at once, exactly one succeeds, with a whole file.
      await link(draft, path).catch((error: unknown) => {
        if (!hasCode(error, 'EEXIST')) throw error;
      });
    } finally {
      await rm(draft, { force: true });
    }
    await syncFolder(path);
  });
  const standing = await readKeyringFile(path);
  if (standing === undefined) throw damaged(path);
  return standing;
}

/**
 * Replaces the file at once and durably; drafts of processes that died are swept with it.
 * @throws UsherError `storage_full`, `config_invalid` when the folder does not take it.
 */
export async function replaceKeyringFile(path: string, roots: readonly RootKey[]): Promise<void> {
  await writing(path, async () => {
    await rename(await writeDraft(path, roots), path);
    await syncFolder(path);
    const drafts = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}.draft-`));
    await Promise.all(drafts.map((name) => rm(join(dirname(path), name), { force: true })));
  });
}

/**
 * An exclusive lock that the operating system frees when the process dies. Node has no flock;
 * SQLite's own lock on an empty database beside the file does the same on every platform.
 */
export function lockKeyring(path: string): Disposable {
  const lockPath = `${path}.lock`;
  let lock: DatabaseSync | undefined;
  try {
    createPrivately(lockPath);
    lock = new DatabaseSync(lockPath, { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
  } catch (error) {
    lock?.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === sqliteBusy) {
      throw new UsherError('conflict', 'Another process is rotating the root key. Wait until it has finished.');
    }
    throw cannotWrite(lockPath, error);
  }
  return { [Symbol.dispose]: () => lock.close() };
}

/** Whoever may read the file could lock it too. */
function createPrivately(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
}

async function writeDraft(path: string, roots: readonly RootKey[]): Promise<string> {
  const draft = `${path}.draft-${randomBytes(8).toString('hex')}`;
  const keys = roots.map(({ id, key }) => ({ id, key: key.export().toString('base64') }));
  const keyring: z.infer<typeof keyringSchema> = { about, format: 1, keys };
  await using file = await open(draft, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(keyring, undefined, 2)}\n`);
    await file.sync();
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  return draft;
}

async function syncFolder(path: string): Promise<void> {
  if (!posix) return;
  await using folder = await open(dirname(path), 'r');
  await folder.sync();
}

async function writing(path: string, write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (hasCode(error, 'ENOSPC')) {
      throw new UsherError('storage_full', `There is no space left to write ${path}. Free some and start again.`, {
        cause: error,
      });
    }
    throw cannotWrite(path, error);
  }
}

function cannotWrite(path: string, cause: unknown): UsherError {
  return new UsherError(
    'config_invalid',
    `${path} cannot be written. Give the user that runs Usher a data folder of its own, on a file system with hard ` +
      `links, or give the root key by the configuration.`,
    { cause },
  );
}

function parseKeyring(path: string, text: string): readonly RootKey[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw damaged(path);
  }
  const keyring = keyringSchema.safeParse(json);
  if (!keyring.success) throw damaged(path);
  return keyring.data.keys.map(({ id, key }) => {
    const bytes = Buffer.from(key, 'base64');
    if (bytes.length !== 32) throw damaged(path);
    const root = rootKey(bytes);
    if (root.id !== id) throw damaged(path);
    return root;
  });
}

function damaged(path: string): UsherError {
  return new UsherError(
    'data_damaged',
    `${path} is damaged. Put it back from a backup. Nothing was overwritten; a new root key could not open the database.`,
  );
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
