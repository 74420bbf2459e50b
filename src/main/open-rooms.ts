import { mkdir } from 'node:fs/promises';
import { UsherError } from '#base';
import type { Config, Secrets } from '#config';
import type { Store } from '#store';
import { openPostgresStore } from '#store/postgres';
import { openSqliteStore } from '#store/sqlite';
import { checkRootKeys, openRootKeys, openVault, verifyTenantKeys, type RootKeys, type Vault } from '#vault';

/** Store and vault, opened together: one is of no use without the other. */
export interface OpenedRooms extends AsyncDisposable {
  readonly store: Store;
  readonly vault: Vault;
  readonly roots: RootKeys;
}

/**
 * @param owner true for the one process that serves from an embedded database
 * @throws UsherError with what to do, where the data cannot be opened; nothing is overwritten
 */
export async function openRooms(
  config: Config,
  secrets: Secrets,
  { owner }: { readonly owner: boolean },
): Promise<OpenedRooms> {
  await using opening = new AsyncDisposableStack();
  await mkdir(config.dataDir, { recursive: true, mode: 0o700 });
  const keys = { dataDir: config.dataDir, given: secrets.rootKeys };
  await checkRootKeys(keys);
  const store = opening.adopt(await openStore(config, secrets, owner), (opened) => opened.close());
  const roots = await openRootKeys({ ...keys, hasTenantKeys: await store.system.hasTenantKeys() });
  await verifyTenantKeys(store.system, roots);
  const vault = openVault({ keys: store.system, roots });
  const opened = opening.move();
  return { store, vault, roots, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

function openStore(config: Config, secrets: Secrets, owner: boolean): Promise<Store> {
  if (config.storage.kind === 'sqlite') {
    const { path, bytesMax } = config.storage;
    return openSqliteStore({ path, owner, ...(bytesMax === undefined ? {} : { bytesMax }) });
  }
  if (secrets.postgresUrl === undefined)
    throw new UsherError('config_invalid', 'The address of PostgreSQL is missing.');
  return openPostgresStore({ url: secrets.postgresUrl, poolMax: config.storage.poolMax });
}
