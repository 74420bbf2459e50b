import { UsherError } from '#base';

/** Clients know the code, and send all that was said instead. */
export function noSuchPrevious(): UsherError {
  return new UsherError(
    'previous_response_not_found',
    'There is no such earlier response. Send what was said before as input.',
    { param: 'previous_response_id' },
  );
}
