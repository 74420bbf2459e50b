import { UsherError, newId } from '#base';
import { reachOf } from '#access';
import { isSearchId, type Item } from '#conversation';
import { notSpoken } from '../archive/admit-said.ts';
import { isBeyond } from '../archive/beyond.ts';
import { subjectOf } from '../resolve.ts';
import { openItem } from '../seal-items.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { TurnRequest } from '../turn-steps.ts';

/** Stands for a stored item, which is said again in its place. */
export interface ItemReference {
  readonly kind: 'reference';
  /** As the caller sent it. */
  readonly id: string;
}

export type SaidItem = Item | ItemReference;

/** Each is a read of its own. */
const referencesMax = 512;
/** Of all stored items that one request refers to: a few characters may stand for megabytes. */
const bytesMax = 33_554_432;

/**
 * What is said, with the items that are only referred to: those of the same tenant and person,
 * whatever conversation or turn they are of. Each is said again under an id of its own. `param` is
 * where they stand in the body.
 *
 * @throws UsherError `not_found` for an item that there is not, or that is another's; `forbidden` for a person's token
 */
export async function resolveReferences(
  rooms: Pick<TurnRooms, 'store' | 'vault'>,
  asked: Pick<TurnRequest, 'principal' | 'subject' | 'conversation' | 'previous'>,
  said: readonly SaidItem[],
  param: 'input' | 'items',
): Promise<readonly Item[]> {
  const references = said.filter((item) => item.kind === 'reference');
  if (references.length === 0) return said as readonly Item[];
  const { principal, conversation, previous } = asked;
  if (principal.kind === 'user') throw notSpoken(param);
  if (references.length > referencesMax) throw tooMany(`At most ${referencesMax} items`, param);
  const store = rooms.store.reach(reachOf(principal));
  const begun =
    conversation !== undefined
      ? await store.conversation(conversation)
      : previous === undefined
        ? undefined
        : await store.turn(previous);
  const isKnown = (conversation ?? previous) === undefined || !isBeyond(principal, begun);
  const subject = isKnown ? subjectOf(asked, begun) : undefined;
  const items = new Map<ItemReference, Item>();
  let bytes = 0;
  // One after another, so that no more is held than may be said.
  for (const reference of references) {
    const row = await store.storedItem(reference.id);
    if (row === undefined || subject === undefined || row.subject !== subject) throw noItem(param);
    bytes += row.content.length;
    if (bytes > bytesMax) throw tooMany(`Items of at most ${bytesMax} bytes`, param);
    items.set(reference, openItem(await rooms.vault.subject(principal.tenant, subject), row));
  }
  return said.map((item) => (item.kind === 'reference' ? saidAgain(items.get(item)!, param) : item));
}

/** What a compaction covers stands before the original. */
function saidAgain(item: Item, param: string): Item {
  switch (item.kind) {
    case 'message':
      return { ...item, id: newId('message') };
    case 'call':
      return { ...item, id: newId('call') };
    case 'result':
      return { ...item, id: newId('result') };
    case 'tool':
      return { ...item, id: newId(isSearchId(item.id) ? 'search' : 'tool') };
    case 'reasoning':
      return { ...item, id: newId('reasoning') };
    case 'approval-request':
      return { ...item, id: newId('approvalRequest'), sentBack: true };
    case 'approval':
      // Said again, it would approve again.
      throw noItem(param);
    case 'compaction':
      return { ...item, id: newId('compaction'), covers: null };
  }
}

function tooMany(what: string, param: string): UsherError {
  return new UsherError('too_large', `${what} may be referred to. Send the others themselves.`, { param });
}

function noItem(param: string): UsherError {
  return new UsherError(
    'not_found',
    'There is no such stored item of this person to refer to. Send the item itself, or look at its id and "safety_identifier".',
    { param },
  );
}
