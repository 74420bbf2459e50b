import { createHmac } from 'node:crypto';
import { UsherError, type Id } from '#base';
import { reachOf, type Principal } from '#access';
import type { RepeatKeys } from '#store';
import type { TurnRooms } from '../turn-rooms.ts';
import type { TurnRequest } from '../turn-steps.ts';

/** How long a repeat that announces itself finds the turn that it asked for. */
const windowMs = 15 * 60_000;

export const noRepeats: RepeatKeys = { idempotency: null, body: null };

/**
 * What a stored turn is recognised by when its request comes again: digests under a key of the
 * tenant, so that they tell nothing of what was said. Of caller and `Idempotency-Key`, and of caller
 * and body (which names the conversation).
 */
export async function repeatKeys(rooms: Pick<TurnRooms, 'vault'>, request: TurnRequest): Promise<RepeatKeys> {
  const { repeat, principal, stored } = request;
  if (repeat === undefined || !stored) return noRepeats;
  const key = await rooms.vault.derive(principal.tenant, 'repeated requests');
  const digest = (kind: string, text: string): Uint8Array =>
    createHmac('sha256', key)
      .update(JSON.stringify([kind, callerOf(principal), text]))
      .digest();
  return {
    idempotency: repeat.idempotencyKey === undefined ? null : digest('key', repeat.idempotencyKey),
    body: digest('body', repeat.body),
  };
}

/**
 * The turn that an earlier request of the same caller asked for, where this one is its repeat: by its
 * idempotency key; without one by its body, where it says itself that it is one and nobody heard the
 * answer yet, since the same words said again are another message. What failed or was stopped is no
 * answer, so that its repeat asks a model anew.
 *
 * @throws UsherError `conflict` for a key that was used with another body, `invalid_request` for one of a turn that is not kept
 */
export async function findRepeated(
  rooms: Pick<TurnRooms, 'vault' | 'store' | 'clock'>,
  request: TurnRequest,
): Promise<Id<'turn'> | undefined> {
  const { repeat, principal, stored } = request;
  if (repeat === undefined) return undefined;
  if (repeat.idempotencyKey !== undefined && !stored) {
    throw new UsherError(
      'invalid_request',
      'An Idempotency-Key needs an answer that is kept. Send "store": true, or leave the header out.',
      { param: 'store' },
    );
  }
  if (!stored || (repeat.idempotencyKey === undefined && !repeat.isAnnounced)) return undefined;
  const keys = await repeatKeys(rooms, request);
  const found = await rooms.store.reach(reachOf(principal)).repeatedTurn(keys, rooms.clock.wallMs() - windowMs);
  if (found === undefined) return undefined;
  if (found.body === null || keys.body === null || Buffer.compare(found.body, keys.body) !== 0) {
    throw new UsherError('conflict', 'This Idempotency-Key was used with another request. Send a new one.', {
      param: 'Idempotency-Key',
    });
  }
  return found.turn;
}

function callerOf(principal: Principal): string {
  return `${principal.kind} ${principal.kind === 'key' ? principal.keyId : principal.subject}`;
}
