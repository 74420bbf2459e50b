import { UsherError } from '#base';
import { reachOf, type Principal } from '#access';
import type { ItemId, MessageItem } from '#conversation';
import { conversationPages } from '../context/read-past.ts';
import { openItem } from '../seal-items.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import { conversationRow } from './archive.ts';

/**
 * The message of a person that their chat calls `named`, to be said again in its place; undefined
 * where it was never kept, as one that was refused. `before` is what the chat calls those that it
 * shows before it.
 *
 * @throws UsherError `not_found`; `conflict` where the chat does not know what was said last here
 */
export async function findReplaced(
  rooms: Pick<TurnRooms, 'store' | 'vault'>,
  principal: Principal,
  conversation: string,
  { named, before }: { readonly named: string; readonly before: ReadonlySet<string> },
): Promise<ItemId | undefined> {
  const { id, subject } = await conversationRow(rooms, principal, conversation);
  const vault = await rooms.vault.subject(principal.tenant, subject);
  let isNewest = true;
  for await (const page of conversationPages(rooms.store.reach(reachOf(principal)), id)) {
    for (const row of page) {
      const item = openItem(vault, row);
      if (item.kind !== 'message' || item.role !== 'user') continue;
      if (isCalled(item, (name) => name === named)) return item.id;
      if (isNewest && isCalled(item, (name) => before.has(name))) return undefined;
      isNewest = false;
    }
  }
  if (isNewest) return undefined;
  throw new UsherError(
    'conflict',
    'This conversation does not know the message by its id, so that nothing can take its place. Load the conversation with the ids of its items, or send a new message.',
    { param: 'messages' },
  );
}

function isCalled({ id, clientId }: MessageItem, isSuch: (name: string) => boolean): boolean {
  return isSuch(id) || (clientId !== undefined && isSuch(clientId));
}
