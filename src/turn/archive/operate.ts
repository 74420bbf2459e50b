import { newId, parseId, UsherError, type Id } from '#base';
import { reachOf, type KeyPrincipal } from '#access';
import type { Item } from '#conversation';
import type { ListedHandover } from '#store';
import { sealReply, type Reply } from '../answer/hand-over.ts';
import { openItem, sealItem } from '../seal-items.ts';
import { putAudit } from './audit-trail.ts';
import { noCursor } from './no-cursor.ts';
import type { TurnRooms } from '../turn-rooms.ts';

/* What operators do with the conversations that were handed over to them. Each act leaves an audit record. */

type OperateRooms = Pick<TurnRooms, 'store' | 'vault' | 'clock' | 'live' | 'telemetry'>;

/** The last items that an operator is shown. */
const shownItems = 100;

/** One page of the open handovers, oldest first. @throws UsherError `not_found` for an `after` that is none */
export async function listHandovers(
  rooms: OperateRooms,
  principal: KeyPrincipal,
  page: { readonly limit: number; readonly after?: string },
): Promise<{ readonly handovers: readonly ListedHandover[]; readonly hasMore: boolean }> {
  const { limit, after } = page;
  const from = after === undefined ? undefined : parseId('handover', after);
  if (after !== undefined && from === undefined) throw noCursor();
  await putAudit(rooms, principal, 'handover.list', 'open');
  const asked = { limit: limit + 1, ...(from === undefined ? {} : { after: from }) };
  const rows = await rooms.store.reach(reachOf(principal)).openHandovers(asked);
  return { handovers: rows.slice(0, limit), hasMore: rows.length > limit };
}

/** A handover with the last of what was said, oldest first. @throws UsherError `not_found` */
export async function readHandover(
  rooms: OperateRooms,
  principal: KeyPrincipal,
  id: string,
): Promise<{ readonly handover: ListedHandover; readonly items: readonly Item[] }> {
  const handover = await handoverRow(rooms, principal, id);
  await putAudit(rooms, principal, 'handover.read', handover.id);
  const store = rooms.store.reach(reachOf(principal));
  const rows =
    handover.conversation === null
      ? handover.latest === null
        ? []
        : await store.chainItems(handover.latest, shownItems)
      : (await store.items(handover.conversation, { limit: shownItems, order: 'newest-first' })).toReversed();
  const vault = await rooms.vault.subject(principal.tenant, handover.subject);
  return { handover, items: rows.map((row) => openItem(vault, row)) };
}

/** Where an answer went: to the response that waited for it, or into the conversation, for the next look at it. */
export type Delivery =
  | { readonly to: 'response'; readonly response: Id<'turn'> }
  | { readonly to: 'conversation'; readonly item: Id<'message'> };

/**
 * With `waiting`, the answer is to that response alone, which takes one: whoever does not know whether
 * their answer came may send it again.
 *
 * @throws UsherError `not_found`, `conflict` where it is not open, the response does not wait, or
 * nobody could ever read the answer
 */
export async function answerHandover(
  rooms: OperateRooms,
  principal: KeyPrincipal,
  { id, waiting: wanted }: { readonly id: string; readonly waiting: Id<'turn'> | undefined },
  reply: Reply,
): Promise<Delivery> {
  const handover = await openRow(rooms, principal, id);
  const store = rooms.store.reach(reachOf(principal));
  const vault = await rooms.vault.subject(principal.tenant, handover.subject);
  await putAudit(rooms, principal, 'handover.answer', handover.id);
  const { conversation } = handover;
  const waiting = wanted ?? handover.waiting;
  if (waiting !== null && (await store.putReply(handover.id, waiting, sealReply(vault, waiting, reply)))) {
    rooms.live.get(waiting)?.change();
    return { to: 'response', response: waiting };
  }
  if (wanted !== undefined) throw new UsherError('conflict', 'This response waits for no answer, or has one already.');
  const item = {
    kind: 'message',
    id: newId('message'),
    role: 'assistant',
    content: [{ type: 'text', text: reply.text }],
    status: 'completed',
    operator: reply.name,
  } as const;
  const isKept =
    conversation !== null && (await store.appendItems(conversation, [sealItem(vault, item)], rooms.clock.wallMs()));
  if (isKept) return { to: 'conversation', item: item.id };
  throw new UsherError(
    'conflict',
    'No response waits for an answer now, and without a conversation there is no other place for it. Answer the next one.',
  );
}

/** The assistant answers again, also what waits now. @throws UsherError `not_found`, `conflict` */
export async function returnHandover(rooms: OperateRooms, principal: KeyPrincipal, id: string): Promise<void> {
  const { id: handover, assistant, waiting } = await openRow(rooms, principal, id);
  await putAudit(rooms, principal, 'handover.return', handover);
  const store = rooms.store.reach(reachOf(principal));
  if (!(await store.endHandover(handover, 'returned', rooms.clock.wallMs()))) throw notOpen();
  rooms.telemetry.handover({ assistant, event: 'returned' });
  if (waiting !== null) rooms.live.get(waiting)?.change();
}

/**
 * An operator takes a conversation unasked: from its next message on it is theirs.
 * @throws UsherError `not_found`, `conflict` where its assistant is never handed over
 */
export async function takeConversation(
  rooms: OperateRooms & Pick<TurnRooms, 'releases'>,
  principal: KeyPrincipal,
  conversation: string,
): Promise<ListedHandover> {
  const store = rooms.store.reach(reachOf(principal));
  const known = parseId('conversation', conversation);
  const row = known === undefined ? undefined : await store.conversation(known);
  if (row === undefined) throw noConversation();
  const { id, subject, assistant, release } = row;
  const served =
    assistant === null || release === null
      ? undefined
      : await rooms.releases.byDigest(principal.tenant, assistant, 'pinned', release);
  if (assistant === null || served?.release.spec.handover === undefined) {
    throw new UsherError(
      'conflict',
      'The assistant of this conversation is not set up to be handed over. Write `handover:` into its assistant.yaml; conversations that begin after that can be taken.',
      { param: 'conversation' },
    );
  }
  await putAudit(rooms, principal, 'handover.take', id);
  const openedAtMs = rooms.clock.wallMs();
  const fresh = newId('handover', openedAtMs);
  const handover = await store.openHandover(
    { id: fresh, subject, assistant, conversation: id, openedBy: 'operator', openedAtMs },
    null,
    null,
  );
  if (handover === undefined) throw noConversation();
  if (handover.id === fresh) rooms.telemetry.handover({ assistant, event: 'opened by operator' });
  return handoverRow(rooms, principal, handover.id);
}

async function handoverRow(rooms: OperateRooms, principal: KeyPrincipal, id: string): Promise<ListedHandover> {
  const known = parseId('handover', id);
  const row = known === undefined ? undefined : await rooms.store.reach(reachOf(principal)).handover(known);
  if (row === undefined) throw new UsherError('not_found', 'There is no such handover.');
  return row;
}

async function openRow(rooms: OperateRooms, principal: KeyPrincipal, id: string): Promise<ListedHandover> {
  const row = await handoverRow(rooms, principal, id);
  if (row.state !== 'open') throw notOpen();
  return row;
}

function noConversation(): UsherError {
  return new UsherError('not_found', 'There is no such conversation.', { param: 'conversation' });
}

function notOpen(): UsherError {
  return new UsherError(
    'conflict',
    'The assistant answers this conversation again. Take it over anew to answer in it.',
  );
}
