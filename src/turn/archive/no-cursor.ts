import { UsherError } from '#base';

/** A page after it would be empty, and seem to be the end. */
export function noCursor(): UsherError {
  return new UsherError(
    'not_found',
    'What "after" names is not in this list: it was deleted, or is of another. Begin at the first page again.',
    { param: 'after' },
  );
}
