import type { DatabaseSync } from 'node:sqlite';
import type { Call } from '../operations/calls.ts';
import { perform } from '../operations/operations.ts';
import { Undo } from '../query.ts';
import { refusalOf } from './errors.ts';
import type { Settled } from './messages.ts';
import { sqliteSession } from './session.ts';

export type RunCalls = (calls: readonly Call[]) => Promise<readonly Settled[]>;

/** Reads are one statement each and need no transaction. */
export function readsOn(db: DatabaseSync): RunCalls {
  const session = sqliteSession(db);
  return (calls) => inTurn(calls, async (call) => ({ answer: await perform(session, call) }));
}

/**
 * Writes in groups: one transaction, hence one wait for the disk, for all calls of a group; a
 * savepoint around each, so that one that fails takes nothing of its neighbours with it. Where the
 * transaction itself is lost (SQLite ends it by itself on a full disk), nothing was acknowledged
 * yet, and each call is tried again alone.
 */
export function writesOn(db: DatabaseSync): RunCalls {
  const session = sqliteSession(db);
  const begin = db.prepare('begin immediate');
  const commit = db.prepare('commit');
  const savepoint = db.prepare('savepoint one_call');
  const release = db.prepare('release one_call');
  const undo = db.prepare('rollback to one_call');

  const alone = async (call: Call): Promise<Settled> => {
    begin.run();
    try {
      const answer = await perform(session, call);
      commit.run();
      return { answer };
    } catch (error) {
      if (db.isTransaction) db.exec('rollback');
      return settledBy(error);
    }
  };

  const amongOthers = async (call: Call): Promise<Settled> => {
    savepoint.run();
    try {
      const answer = await perform(session, call);
      release.run();
      return { answer };
    } catch (error) {
      if (!db.isTransaction) throw error;
      undo.run();
      release.run();
      return settledBy(error);
    }
  };

  const together = async (calls: readonly Call[]): Promise<readonly Settled[] | 'lost'> => {
    begin.run();
    try {
      const settled = await inTurn(calls, amongOthers);
      if (!db.isTransaction) return 'lost';
      commit.run();
      return settled;
    } catch {
      if (db.isTransaction) db.exec('rollback');
      return 'lost';
    }
  };

  const inGroup = async (calls: readonly Call[]): Promise<readonly Settled[]> => {
    if (calls.length > 1) {
      const settled = await together(calls);
      if (settled !== 'lost') return settled;
    }
    return inTurn(calls, alone);
  };

  return async (calls) => {
    const settled = await inGroup(calls).catch((error: unknown) => calls.map(() => settledBy(error)));
    if (settled.some(metFullDisk)) makeRoom(db);
    return settled;
  };
}

function metFullDisk(settled: Settled): boolean {
  return 'refusal' in settled && settled.refusal.code === 'storage_full';
}

/**
 * Moves the log into the database file and gives its space back. SQLite does so by itself only after
 * a commit, and on a full disk there is none: deletions would never find room for their own log.
 */
function makeRoom(db: DatabaseSync): void {
  try {
    db.exec('pragma wal_checkpoint(truncate)');
  } catch {
    // No room for that either: the disk needs an owner's hand.
  }
}

/** One after the other; what a call throws is its own answer. */
async function inTurn(calls: readonly Call[], run: (call: Call) => Promise<Settled>): Promise<readonly Settled[]> {
  const settled: Settled[] = [];
  for (const call of calls) settled.push(await run(call).catch(settledBy));
  return settled;
}

function settledBy(error: unknown): Settled {
  return error instanceof Undo ? { answer: error.answer } : { refusal: refusalOf(error) };
}
