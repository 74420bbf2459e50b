import { UsherError, type ErrorCode } from '#base';
import type { Refusal } from './messages.ts';

/* SQLite's primary result codes (sqlite.org/rescode.html); the low byte of an extended one. */
const primary = {
  busy: 5,
  locked: 6,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notDatabase: 26,
};
const constraintForeignKey = 787;
const constraintPrimaryKey = 1555;
const constraintUnique = 2067;

/** What an error of SQLite means to a caller. Messages name neither values nor SQL. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof UsherError) return { code: error.code, message: error.message };
  const errcode = (error as { readonly errcode?: unknown } | null)?.errcode;
  if (typeof errcode !== 'number') return { code: 'internal', message: `The store failed: ${nameOf(error)}.` };
  const [code, message] = meaningOf(errcode);
  return { code, message: `${message} (SQLite ${errcode})` };
}

function meaningOf(errcode: number): readonly [ErrorCode, string] {
  if (errcode === constraintPrimaryKey || errcode === constraintUnique) {
    return ['conflict', 'A record with this id is already stored.'];
  }
  if (errcode === constraintForeignKey) return ['conflict', 'The record that this one belongs to was deleted.'];
  switch (errcode & 0xff) {
    case primary.full:
      return ['storage_full', 'The disk of the database is full. Free some space; what is stored stays readable.'];
    case primary.corrupt:
    case primary.notDatabase:
      return ['data_damaged', damagedMessage('The database file is damaged.')];
    case primary.busy:
    case primary.locked:
      return ['storage_unavailable', 'Another process kept the database locked for too long. Try again.'];
    case primary.readOnly:
      return ['storage_unavailable', 'The database file cannot be written. Check the rights of its file and folder.'];
    case primary.cannotOpen:
      return [
        'storage_unavailable',
        'The database file cannot be opened. Check that its folder exists, and its rights.',
      ];
    case primary.ioError:
      return ['storage_unavailable', 'The disk of the database reported an error. Check the disk and the system log.'];
    default:
      return ['internal', 'The database refused an operation.'];
  }
}

/** A sentence for a damaged file, with the mend. */
export function damagedMessage(what: string): string {
  return (
    `${what} Nothing was changed. Stop Usher, keep a copy of the file with its -wal beside it, then put back a ` +
    'backup, or save what can be read with: sqlite3 <file> .recover'
  );
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error';
}
