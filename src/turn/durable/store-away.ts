import { UsherError } from '#base';

/** Whether the database could not be asked now: no answer to the question, and no reason to end a turn that is kept. */
export function isStoreAway(error: unknown): boolean {
  return error instanceof UsherError && error.code === 'storage_unavailable';
}
