import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { UsherError } from '#base';
import { createKeyringFile, lockKeyring, readKeyringFile, replaceKeyringFile } from './keyring-file.ts';
import { rootKey, type RootKey } from './root-key.ts';

/** The keys at the top of the hierarchy: one that wraps, older ones that still open. */
export interface RootKeys {
  current(): RootKey;
  /** Those that only open; empty but while rotating. */
  older(): readonly RootKey[];
  find(id: string): RootKey | undefined;
  /** Reads the source again, since another process may have rotated. */
  refresh(): Promise<void>;
  /** The file in the data folder; undefined where the keys were given from elsewhere. */
  readonly keyring: RootKeyring | undefined;
}

/** Changes of the file, each atomic and durable before it settles. */
export interface RootKeyring {
  readonly path: string;
  /** Puts a new root in front; the others stay. */
  add(): Promise<void>;
  /** Leaves the current root alone in the file. */
  dropOlder(): Promise<void>;
  /**
   * Keeps other processes from rotating until disposed, or until this process dies.
   * @throws UsherError `conflict` while another one does.
   */
  lock(): Disposable;
}

export interface RootKeysOptions {
  readonly dataDir: string;
  /** Keys of 32 bytes from the configuration, current first; undefined: the data folder's file. */
  readonly given: readonly Uint8Array[] | undefined;
  /** Whether the database already holds tenant keys; if so, no new root can be right. */
  readonly hasTenantKeys: boolean;
}

/**
 * The root keys: those given, else those of `root.key` in the data folder, which is made at the
 * first start. Several starts at once agree on one file. Never overwrites.
 *
 * @throws UsherError `config_invalid` for given keys of a wrong size or a file that others may
 * read, `data_damaged` for a missing or damaged file.
 */
export async function openRootKeys({ dataDir, given, hasTenantKeys }: RootKeysOptions): Promise<RootKeys> {
  if (given !== undefined) return givenRootKeys(given);
  const path = join(dataDir, 'root.key');
  const standing = await readKeyringFile(path);
  if (standing === undefined && hasTenantKeys) throw keyringMissing(path);
  return fileRootKeys(path, standing ?? (await createKeyringFile(path, newRootKey())));
}

/**
 * Looks at what `openRootKeys` will read, before the database is opened: a start that the file stops
 * has then touched nothing at all.
 *
 * @throws UsherError as `openRootKeys` does, but for a missing file
 */
export async function checkRootKeys({ dataDir, given }: Omit<RootKeysOptions, 'hasTenantKeys'>): Promise<void> {
  if (given !== undefined) givenRootKeys(given);
  else await readKeyringFile(join(dataDir, 'root.key'));
}

function givenRootKeys(given: readonly Uint8Array[]): RootKeys {
  const roots = given.map(rootKey);
  const [current] = roots;
  if (current === undefined) {
    throw new UsherError('config_invalid', 'The list of root keys is empty. Give one of 32 bytes, or leave it out.');
  }
  return {
    current: () => current,
    older: () => roots.slice(1),
    find: (id) => roots.find((root) => root.id === id),
    refresh: () => Promise.resolve(),
    keyring: undefined,
  };
}

function fileRootKeys(path: string, first: readonly RootKey[]): RootKeys {
  let roots = first;
  const write = async (next: readonly RootKey[]) => {
    await replaceKeyringFile(path, next);
    roots = next;
  };
  const keyring: RootKeyring = {
    path,
    add: () => write([newRootKey(), ...roots]),
    dropOlder: () => write(roots.slice(0, 1)),
    lock: () => lockKeyring(path),
  };
  return {
    current: () => roots[0]!,
    older: () => roots.slice(1),
    find: (id) => roots.find((root) => root.id === id),
    refresh: async () => {
      const standing = await readKeyringFile(path);
      if (standing === undefined) throw keyringMissing(path);
      roots = standing;
    },
    keyring,
  };
}

function newRootKey(): RootKey {
  return rootKey(randomBytes(32));
}

function keyringMissing(path: string): UsherError {
  return new UsherError(
    'data_damaged',
    `${path} is missing, but the database holds content that was sealed with it. Put the file back from a backup; ` +
      `if the root key was given by the configuration before, give it again. Nothing was written.`,
  );
}
