import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { UsherError } from '#base';
import { migrate } from '../migrations/migrate.ts';
import { damagedMessage } from './errors.ts';

/** `USHR`: marks the file as Usher's (sqlite.org/pragma.html#pragma_application_id). */
const applicationId = 0x55534852;

/** SQLite's own choice for a new file. */
const pageBytes = 4096;

/** How long a statement waits for another process, such as a key being created beside a running server. */
const busyTimeoutMs = 5000;

/** Above this only the header and the schema are read at open: a whole check took 0.6 s a gigabyte in memory. */
const wholeCheckBytesMax = 256 * 1024 * 1024;

/**
 * Opens a database for writing: looks at an existing file without touching it, then migrates it.
 * @throws UsherError `data_damaged`, or `config_invalid` for a file of another program.
 */
export async function openForWrites(path: string, bytesMax: number | undefined): Promise<DatabaseSync> {
  createPrivately(path);
  inspect(path);
  const db = new DatabaseSync(path, { timeout: busyTimeoutMs });
  try {
    switchToWal(db);
    db.exec('pragma synchronous = full; pragma foreign_keys = on; pragma journal_size_limit = 67108864');
    await migrateOnce(db);
    if (bytesMax !== undefined) db.exec(`pragma max_page_count = ${Math.floor(bytesMax / pageBytes)}`);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A second connection, so that reads see the last commit and never wait for one. */
export function openForReads(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: busyTimeoutMs });
  db.exec('pragma query_only = on');
  return db;
}

/** Mode 0600 from the first byte on. An existing file is not even opened: closing it would drop our own locks on it. */
export function createPrivately(path: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    const failed = error as NodeJS.ErrnoException;
    if (failed.code !== 'EEXIST' || failed.syscall !== 'open') throw cannotCreate(failed);
  }
}

function cannotCreate(error: NodeJS.ErrnoException): UsherError {
  if (error.code === 'ENOSPC') return new UsherError('storage_full', 'The disk of the database is full.');
  return new UsherError(
    'storage_unavailable',
    `The database file cannot be created (${error.code}). Check that its folder can be written.`,
  );
}

/** Read-only, so that a damaged file is left as it is: no recovery of the log into it, no checkpoint on close. */
function inspect(path: string): void {
  const { size } = statSync(path);
  if (size === 0) return;
  const db = new DatabaseSync(path, { readOnly: true, timeout: busyTimeoutMs });
  try {
    const { objects } = db.prepare('select count(*) as objects from sqlite_schema').get() as { objects: number };
    if (objects > 0 && applicationIdOf(db) !== applicationId) {
      throw new UsherError(
        'config_invalid',
        'The database file belongs to another program. Name another file, or another data folder.',
      );
    }
    if (size > wholeCheckBytesMax) return;
    const { quick_check: verdict } = db.prepare('pragma quick_check(1)').get() as { quick_check: string };
    if (verdict !== 'ok') throw new UsherError('data_damaged', damagedMessage('The database file is damaged.'));
  } finally {
    db.close();
  }
}

function applicationIdOf(db: DatabaseSync): number {
  return (db.prepare('pragma application_id').get() as { application_id: number }).application_id;
}

/** The switch of a new file can meet another process at the same point, and then does not wait by itself. */
function switchToWal(db: DatabaseSync): void {
  const deadline = Date.now() + busyTimeoutMs;
  for (;;) {
    try {
      db.exec('pragma journal_mode = wal');
      return;
    } catch (error) {
      const busy = ((error as { readonly errcode?: number }).errcode ?? 0) % 256 === 5;
      if (!busy || Date.now() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

async function migrateOnce(db: DatabaseSync): Promise<void> {
  db.exec('begin immediate');
  try {
    await migrate('sqlite', async (text) => db.prepare(text).all());
    // Only where it is missing: a store whose disk is full must still open, to be read.
    if (applicationIdOf(db) !== applicationId) db.exec(`pragma application_id = ${applicationId}`);
    db.exec('commit');
  } catch (error) {
    if (db.isTransaction) db.exec('rollback');
    throw error;
  }
}
