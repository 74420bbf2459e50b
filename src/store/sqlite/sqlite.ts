import { writes, type Call } from '../operations/calls.ts';
import { storeOver } from '../store-over.ts';
import type { Store } from '../store.ts';
import { Lane } from './lane.ts';
import { openAccessRevision, type AccessRevision } from './open-access-revision.ts';

export interface SqliteOptions {
  /** The database file; its folder is made where it is missing. */
  readonly path: string;
  /**
   * True for the process that serves: only one may. Others, such as a command that creates a key
   * beside a running server, open without it and take turns with the server's transactions.
   */
  readonly owner?: boolean;
  /** How large the file may grow; past it writes are refused as on a full disk. Unlimited where left out. */
  readonly bytesMax?: number;
}

/**
 * The embedded store: SQLite with a write-ahead log, each commit on the disk before it is
 * acknowledged (`synchronous = full`), one thread for writes and one for reads.
 *
 * @throws UsherError `data_damaged` for a damaged file, `config_invalid` for one of another program
 * or a newer Usher, `conflict` where another server owns it, `storage_full`, `storage_unavailable`.
 */
export async function openSqliteStore({ path, owner = false, bytesMax }: SqliteOptions): Promise<Store> {
  const writing = new Lane({ path, lane: 'write', owner, bytesMax });
  const reading = new Lane({ path, lane: 'read', owner: false, bytesMax: undefined });
  let revision: AccessRevision | undefined;
  const close = async () => {
    revision?.close();
    revision = undefined;
    await reading.close();
    await writing.close();
  };
  try {
    await writing.open();
    await reading.open();
    revision = openAccessRevision(path);
  } catch (error) {
    await close();
    throw error;
  }
  const run = (call: Call): Promise<unknown> => {
    const known = call.name === 'accessRevision' ? revision?.read() : undefined;
    return known === undefined ? (writes(call) ? writing : reading).call(call) : Promise.resolve(known);
  };
  return storeOver(run, close);
}
