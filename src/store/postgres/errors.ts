import { DatabaseError } from 'pg';
import { UsherError, type ErrorCode } from '#base';

/* SQLSTATE codes: postgresql.org/docs/current/errcodes-appendix.html. */
const deadlocks = new Set(['40001', '40P01']);

/** PostgreSQL chose this transaction to end so that another could go on: it may be run again. */
export function isDeadlock(error: unknown): boolean {
  return error instanceof DatabaseError && deadlocks.has(error.code ?? '');
}

/** Whether the connection is of no further use: broken, ended by the server, or to a server that became read-only. */
export function endsConnection(error: unknown): boolean {
  if (!(error instanceof DatabaseError)) return true;
  const state = error.code ?? '';
  return state.startsWith('57P') || state.startsWith('08') || state === '25006';
}

/** What a failed statement or connection means to a caller. Names neither values nor SQL nor the address. */
export function asUsherError(error: unknown): UsherError {
  if (error instanceof UsherError) return error;
  if (!(error instanceof DatabaseError)) {
    return new UsherError(
      'storage_unavailable',
      'PostgreSQL cannot be reached. Check that it runs and that its address is right. An Usher that runs already connects again by itself; start any other again.',
      { cause: error },
    );
  }
  const state = error.code ?? '';
  const [code, message] = meaningOf(state);
  return new UsherError(code, `${message} (SQLSTATE ${state})`, { cause: error });
}

function meaningOf(state: string): readonly [ErrorCode, string] {
  switch (state) {
    case '53100':
      return ['storage_full', 'The disk of PostgreSQL is full. Free some space; what is stored stays readable.'];
    case '53300':
      return ['storage_unavailable', 'PostgreSQL has no free connection. Lower poolMax, or raise its max_connections.'];
    case '23505':
      return ['conflict', 'A record with this id is already stored.'];
    case '23503':
      return ['conflict', 'The record that this one belongs to was deleted.'];
    case '22021':
      return ['invalid_request', 'Text with a zero character (U+0000) cannot be stored. Take it out.'];
    case '25006':
      return ['storage_unavailable', 'PostgreSQL is read-only here. Connect to the primary server.'];
    case '3D000':
      return ['storage_unavailable', 'The database does not exist on this server. Create it, or correct its address.'];
    case '42501':
      return ['storage_unavailable', 'The role may not use this database. Grant it the right to create tables there.'];
    case 'XX001':
    case 'XX002':
      return ['data_damaged', 'PostgreSQL found damaged data. Stop Usher and restore a backup, or ask who runs it.'];
  }
  switch (state.slice(0, 2)) {
    case '08':
    case '40':
    case '53':
    case '55':
    case '57':
    case '58':
      return ['storage_unavailable', 'PostgreSQL could not do this now. Try again; if it stays so, look into its log.'];
    case '28':
      return ['storage_unavailable', 'PostgreSQL refused the credentials. Correct the user or password.'];
    default:
      return ['internal', 'PostgreSQL refused an operation.'];
  }
}
