import { DatabaseSync } from 'node:sqlite';
import { UsherError } from '#base';
import { createPrivately } from './open-database.ts';

/**
 * Marks the database as served by this process, in an empty file beside it that SQLite keeps
 * locked: the system itself lets go of the lock when the process dies, however it dies.
 * For this user alone: whoever may read it could lock it too, and keep the server from starting.
 * @throws UsherError `conflict` when another process holds it.
 */
export function holdAsOwner(path: string): DatabaseSync {
  createPrivately(`${path}-owner`);
  const lock = new DatabaseSync(`${path}-owner`, { timeout: 0 });
  try {
    lock.exec('begin exclusive');
    return lock;
  } catch (error) {
    lock.close();
    if ((error as { readonly errcode?: number }).errcode !== 5) throw error;
    throw new UsherError(
      'conflict',
      'Another Usher server already serves from this data folder. Stop it, or start this one with its own --data.',
    );
  }
}
