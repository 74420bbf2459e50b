import { UsherError } from '#base';
import type { Principal, UserPrincipal } from '#access';
import { textOf, type Item } from '#conversation';
import type { AssistantSpec } from '#release';
import type { TurnRooms } from '../turn-rooms.ts';

/**
 * Whether the caller may keep these items without an answer to them. Persons may as often and as
 * much as they may ask: what they send is stored, and nobody pays for it but the owner's disk.
 *
 * @throws UsherError `forbidden`, `too_large`, `rate_limited`
 */
export async function admitSaid(
  rooms: Pick<TurnRooms, 'releases' | 'limits' | 'clock'>,
  principal: Principal,
  items: readonly Item[],
): Promise<void> {
  if (items.some(({ kind }) => kind === 'approval')) {
    throw new UsherError('invalid_request', 'An approval is the input of a response: it makes the call run there.', {
      param: 'items',
    });
  }
  if (principal.kind !== 'user') return;
  if (!items.every((item) => isSpoken(item))) throw notSpoken('items');
  checkLength(items, await chargePerson(rooms, 'addition', principal), 'items');
}

/** Charges a person to what the assistant allows each; answers that. @throws UsherError `rate_limited` */
export async function chargePerson(
  rooms: Pick<TurnRooms, 'releases' | 'limits' | 'clock'>,
  what: 'turn' | 'addition',
  principal: UserPrincipal,
): Promise<AssistantSpec['limits']> {
  const target = await rooms.releases.resolve(principal.tenant, principal.assistant);
  const { limits } = (await rooms.releases.choose(target, principal.subject)).release.spec;
  rooms.limits.admitPerson(what, principal, limits.turnsPerMinutePerUser, rooms.clock.monotonicMs());
  return limits;
}

/**
 * Whether a person at the page can have said it: a message of theirs, or that they agree to a call. An image must come with it,
 * since an address would make the model's server fetch what a stranger names.
 */
export function isSpoken(item: Item): boolean {
  if (item.kind === 'approval') return true;
  if (item.kind !== 'message' || item.role !== 'user') return false;
  return item.content.every((part) => part.type !== 'file' && (part.type !== 'image' || part.url.startsWith('data:')));
}

export function notSpoken(param: string): UsherError {
  return new UsherError(
    'forbidden',
    "An end user's token may add messages of the role user only, with images as data URLs. Call with an API key instead.",
    { param },
  );
}

/** @throws UsherError `too_large` */
export function checkLength(items: readonly Item[], limits: AssistantSpec['limits'], param: string): void {
  const { inputCharacters } = limits;
  const said = items.reduce((sum, item) => sum + (item.kind === 'message' ? textOf(item.content).length : 0), 0);
  if (said <= inputCharacters) return;
  throw new UsherError(
    'too_large',
    `The message has ${said} characters; this assistant takes ${inputCharacters}. Shorten it.`,
    { param },
  );
}
