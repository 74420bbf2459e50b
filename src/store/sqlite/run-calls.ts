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

  return async (calls) => {
    if (calls.length > 1) {
      try {
        const settled = await together(calls);
        if (settled !== 'lost') return settled;
      } catch (error) {
        return calls.map(() => settledBy(error));
      }
    }
    return inTurn(calls, alone);
  };
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
