import { UsherError, parseId, type Id } from '#base';
import type { ReleaseDigest } from '#release';
import { noCompletion, noSuchPrevious } from '#turn';

/** A turn is a *response* on the wire; the 32 digits are the same. */
export function responseIdOf(turn: Id<'turn'>): string {
  return turn.replace('turn_', 'resp_');
}

export function completionIdOf(turn: Id<'turn'>): string {
  return turn.replace('turn_', 'chatcmpl-');
}

/** @throws UsherError `not_found` where it cannot be an id of ours */
export function turnOfResponseId(id: string, param?: string): Id<'turn'> {
  const turn = asTurn(id);
  if (turn === undefined)
    throw new UsherError('not_found', 'There is no such response.', param === undefined ? {} : { param });
  return turn;
}

/** Of the response that a request goes on from. @throws UsherError `previous_response_not_found` */
export function turnOfPrevious(id: string): Id<'turn'> {
  const turn = asTurn(id);
  if (turn === undefined) throw noSuchPrevious();
  return turn;
}

function asTurn(responseId: string): Id<'turn'> | undefined {
  return responseId.startsWith('resp_') ? parseId('turn', responseId.replace('resp_', 'turn_')) : undefined;
}

/** @throws UsherError `not_found` where it cannot be an id of ours */
export function turnOfCompletionId(id: string): Id<'turn'> {
  const turn = id.startsWith('chatcmpl-') ? parseId('turn', id.replace('chatcmpl-', 'turn_')) : undefined;
  if (turn === undefined) throw noCompletion();
  return turn;
}

/** What answered, as a model name that can be sent back: `guide@0123456789ab`. */
export function servedModel(assistant: string, release: ReleaseDigest): string {
  return `${assistant}@${release.slice('sha256:'.length, 'sha256:'.length + 12)}`;
}
