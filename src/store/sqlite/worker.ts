import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { DatabaseSync } from 'node:sqlite';
import { refusalOf } from './errors.ts';
import type { FromWorker, ToWorker, WorkerSetup } from './messages.ts';
import { openForReads, openForWrites } from './open-database.ts';
import { holdAsOwner } from './owner-lock.ts';
import { readsOn, writesOn } from './run-calls.ts';

/* One connection and its thread: SQLite's calls wait for the disk, so they stay off the event loop. */

const port = parentPort as MessagePort;
const { path, lane, owner, bytesMax } = workerData as WorkerSetup;
const opened: DatabaseSync[] = [];

async function open(): Promise<DatabaseSync> {
  if (owner) opened.push(holdAsOwner(path));
  const db = lane === 'write' ? await openForWrites(path, bytesMax) : openForReads(path);
  opened.push(db);
  return db;
}

function close(): void {
  for (const db of opened.toReversed()) db.close();
  port.close();
}

function tell(message: FromWorker): void {
  port.postMessage(message);
}

try {
  const db = await open();
  const run = lane === 'write' ? writesOn(db) : readsOn(db);
  port.on('message', (message: ToWorker) => {
    if ('close' in message) return close();
    void run(message.calls).then((settled) => tell({ settled }));
  });
  tell({ opened: { answer: undefined } });
} catch (error) {
  tell({ opened: { refusal: refusalOf(error) } });
  close();
}
