import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import type { DatabaseSync } from 'node:sqlite';
import { refusalOf } from './errors.ts';
import type { FromWorker, ToWorker, WorkerSetup } from './messages.ts';
import { openForReads, openForWrites } from './open-database.ts';
import { holdAsOwner } from './owner-lock.ts';
import { readsOn, writesOn, type RunCalls } from './run-calls.ts';

/* One connection and its thread: SQLite's calls wait for the disk, so they stay off the event loop. */

const port = parentPort as MessagePort;
const { path, lane, owner, bytesMax } = workerData as WorkerSetup;
const opened: DatabaseSync[] = [];

let run: RunCalls | undefined;

async function open(): Promise<void> {
  try {
    if (owner) opened.push(holdAsOwner(path));
    const db = lane === 'write' ? await openForWrites(path, bytesMax) : openForReads(path);
    opened.push(db);
    run = lane === 'write' ? writesOn(db) : readsOn(db);
    tell({ opened: { answer: undefined } });
  } catch (error) {
    tell({ opened: { refusal: refusalOf(error) } });
    close();
  }
}

function close(): void {
  for (const db of opened.toReversed()) db.close();
  port.close();
}

function tell(message: FromWorker): void {
  port.postMessage(message);
}

async function obey(message: ToWorker): Promise<void> {
  if (message === 'open') await open();
  else if (message === 'close') close();
  else if (run !== undefined) tell({ settled: await run(message.calls) });
}

port.on('message', (message: ToWorker) => void obey(message));
