import { UsherError, newId, parseId, type Id } from '#base';
import { reachOf, type Principal, type SubjectId } from '#access';
import type { Item } from '#conversation';
import type { ConversationRow, FeedbackRow, ItemRow, PageRequest, QueuedTurn, TurnRow } from '#store';
import { admitSaid } from './admit-said.ts';
import { isBeyond } from './beyond.ts';
import { cancelTurn, stopTurnsOf } from '../durable/cancel-turn.ts';
import { findTurn } from '../durable/find-turn.ts';
import { hasMore } from './has-more.ts';
import { noCursor } from './no-cursor.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import { openInput, openSettings } from '../durable/asked-turn.ts';
import { openItem, sealItem } from '../seal-items.ts';
import { shownTo } from './shown-to.ts';
import { openSealed } from '../context/seal-for-caller.ts';

type ArchiveRooms = Pick<TurnRooms, 'store' | 'vault' | 'clock'>;
/** Those that take what persons say. */
type AddingRooms = ArchiveRooms & Pick<TurnRooms, 'releases' | 'limits'>;

export type Metadata = Readonly<Record<string, string>>;

export interface Conversation {
  readonly id: Id<'conversation'>;
  readonly assistant: string | null;
  readonly title: string | null;
  readonly metadata: Metadata;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** A turn that was taken: it waits, runs, or has ended. */
type KnownTurn = Omit<TurnRow, 'state'> & { readonly state: TurnRow['state'] | 'queued' };

export interface RecordedTurn extends Omit<KnownTurn, 'settings'> {
  readonly settings: string;
  readonly output: readonly Item[];
}

export interface ItemPage {
  readonly items: readonly Item[];
  readonly hasMore: boolean;
}

/** @throws UsherError `invalid_request` when an item id was already used */
export async function createConversation(
  rooms: AddingRooms,
  principal: Principal,
  asked: { readonly metadata: Metadata; readonly items: readonly Item[]; readonly subject: string | undefined },
): Promise<Conversation> {
  await admitSaid(rooms, principal, asked.items);
  const nowMs = rooms.clock.wallMs();
  const id = newId('conversation', nowMs);
  const subject =
    principal.kind === 'user' ? principal.subject : ((asked.subject ?? `app:${principal.keyId}`) as SubjectId);
  const vault = await rooms.vault.subject(principal.tenant, subject);
  const metadata = vault.seal(metadataPlace(id), JSON.stringify(asked.metadata));
  const items = openSealed(vault, asked.items, 'items').map((item) => sealItem(vault, item));
  // A person's own is with the assistant of their token from the start; which release serves it, its first turn settles.
  const assistant = principal.kind === 'user' ? principal.assistant : null;
  const row = { id, subject, assistant, release: null, title: null, metadata, createdAtMs: nowMs };
  await rooms.store.reach(reachOf(principal)).createConversation(row, items);
  return { id, assistant, title: null, metadata: asked.metadata, createdAtMs: nowMs, updatedAtMs: nowMs };
}

export async function readConversation(rooms: ArchiveRooms, principal: Principal, id: string): Promise<Conversation> {
  return openConversation(rooms, principal, await conversationRow(rooms, principal, id));
}

/** Newest activity first. */
export async function listConversations(
  rooms: ArchiveRooms,
  principal: Principal,
  assistant: string,
  page: { readonly limit: number; readonly after?: Id<'conversation'> },
): Promise<readonly Conversation[]> {
  const rows = await rooms.store.reach(reachOf(principal)).listConversations(assistant, page);
  return Promise.all(rows.map((row) => openConversation(rooms, principal, row)));
}

export async function updateMetadata(
  rooms: ArchiveRooms,
  principal: Principal,
  id: string,
  metadata: Metadata,
): Promise<Conversation> {
  const row = await conversationRow(rooms, principal, id);
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const sealed = vault.seal(metadataPlace(row.id), JSON.stringify(metadata));
  const found = await rooms.store.reach(reachOf(principal)).updateConversation(row.id, { metadata: sealed });
  if (!found) throw noConversation();
  return { ...(await openConversation(rooms, principal, row)), metadata };
}

/** What runs or waits in it is stopped first. */
export async function deleteConversation(
  rooms: Parameters<typeof cancelTurn>[0],
  principal: Principal,
  id: string,
): Promise<void> {
  const row = await conversationRow(rooms, principal, id);
  await stopTurnsOf(rooms, principal, row.id);
  if (!(await rooms.store.reach(reachOf(principal)).deleteConversation(row.id))) throw noConversation();
}

export async function appendItems(
  rooms: AddingRooms,
  principal: Principal,
  id: string,
  items: readonly Item[],
): Promise<void> {
  await admitSaid(rooms, principal, items);
  const row = await conversationRow(rooms, principal, id);
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const sealed = openSealed(vault, items, 'items').map((item) => sealItem(vault, item));
  const found = await rooms.store.reach(reachOf(principal)).appendItems(row.id, sealed, rooms.clock.wallMs());
  if (!found) throw noConversation();
}

/** @throws UsherError `not_found`, also where `after` names nothing there */
export async function listItems(
  rooms: ArchiveRooms,
  principal: Principal,
  id: string,
  page: PageRequest,
): Promise<ItemPage> {
  const row = await conversationRow(rooms, principal, id);
  // One more than asked tells whether there are more, without counting.
  const asked = { ...page, limit: page.limit + 1 };
  const store = rooms.store.reach(reachOf(principal));
  const rows = await store.items(row.id, asked);
  const isEnd = rows.length === 0 && page.after !== undefined;
  if (isEnd && (await store.item(row.id, page.after)) === undefined) throw noCursor();
  const items = await openItems(rooms, principal, rows.slice(0, page.limit));
  return { items, hasMore: hasMore(rows, page.limit) };
}

export async function readItem(rooms: ArchiveRooms, principal: Principal, id: string, itemId: string): Promise<Item> {
  const conversation = await conversationRow(rooms, principal, id);
  const row = await rooms.store.reach(reachOf(principal)).item(conversation.id, itemId);
  if (row === undefined) throw new UsherError('not_found', 'There is no such item in this conversation.');
  const [item] = await openItems(rooms, principal, [row]);
  return item!;
}

export async function deleteItem(rooms: ArchiveRooms, principal: Principal, id: string, itemId: string): Promise<void> {
  const conversation = await conversationRow(rooms, principal, id);
  const deleted = await rooms.store.reach(reachOf(principal)).deleteItem(conversation.id, itemId);
  if (!deleted) throw new UsherError('not_found', 'There is no such item in this conversation.');
}

export async function readTurn(rooms: ArchiveRooms, principal: Principal, id: Id<'turn'>): Promise<RecordedTurn> {
  const store = rooms.store.reach(reachOf(principal));
  const row = await turnRow(rooms, principal, id);
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const output = row.state === 'queued' ? [] : await openItems(rooms, principal, await store.turnItems(id, 'output'));
  return { ...row, settings: openSettings(vault, id, row.settings), output };
}

export async function readTurnInput(
  rooms: ArchiveRooms,
  principal: Principal,
  id: Id<'turn'>,
): Promise<readonly Item[]> {
  const store = rooms.store.reach(reachOf(principal));
  const { state, subject } = await turnRow(rooms, principal, id);
  if (state !== 'queued') return openItems(rooms, principal, await store.turnItems(id, 'input'));
  const queued = await store.queuedTurn(id);
  if (queued === undefined) return openItems(rooms, principal, await store.turnItems(id, 'input'));
  const input = openInput(await rooms.vault.subject(principal.tenant, subject), id, queued.input);
  return input.map((item) => shownTo(principal, item));
}

/** The turn that runs in a conversation. */
export async function runningTurnOf(
  rooms: ArchiveRooms,
  principal: Principal,
  conversation: Id<'conversation'>,
): Promise<Id<'turn'> | undefined> {
  return rooms.store.reach(reachOf(principal)).runningTurn(conversation);
}

/** One that is not done is stopped first. */
export async function deleteTurn(
  rooms: Parameters<typeof cancelTurn>[0],
  principal: Principal,
  id: Id<'turn'>,
): Promise<void> {
  const { state } = await turnRow(rooms, principal, id);
  if (state === 'queued' || state === 'running') await cancelTurn(rooms, principal, id);
  if (!(await rooms.store.reach(reachOf(principal)).deleteTurn(id))) throw noTurn();
}

/** One verdict a turn; a later one replaces it. */
export async function giveFeedback(
  rooms: ArchiveRooms,
  principal: Principal,
  id: Id<'turn'>,
  verdict: { readonly rating: FeedbackRow['rating']; readonly comment: string | undefined },
): Promise<void> {
  const store = rooms.store.reach(reachOf(principal));
  const turn = await turnRow(rooms, principal, id);
  const vault = await rooms.vault.subject(principal.tenant, turn.subject);
  const comment = verdict.comment === undefined ? null : vault.seal({ table: 'feedback', row: id }, verdict.comment);
  const createdAtMs = rooms.clock.wallMs();
  const kept = await store.putFeedback({
    turn: id,
    subject: turn.subject,
    rating: verdict.rating,
    comment,
    createdAtMs,
  });
  if (!kept) throw noTurn();
}

/** @throws UsherError `not_found` */
export async function conversationRow(
  rooms: Pick<ArchiveRooms, 'store'>,
  principal: Principal,
  id: string,
): Promise<ConversationRow> {
  const known = parseId('conversation', id);
  const row = known === undefined ? undefined : await rooms.store.reach(reachOf(principal)).conversation(known);
  if (row === undefined || isBeyond(principal, row)) throw noConversation();
  return row;
}

async function turnRow(rooms: ArchiveRooms, principal: Principal, id: Id<'turn'>): Promise<KnownTurn> {
  const store = rooms.store.reach(reachOf(principal));
  const found = await findTurn(store, id);
  const row = found?.turn ?? queuedRow(found?.queued);
  if (row === undefined || isBeyond(principal, row)) throw noTurn();
  return row;
}

function queuedRow(queued: QueuedTurn | undefined): KnownTurn | undefined {
  if (queued === undefined) return undefined;
  const { input: _input, deadlineMs: _deadlineMs, repeats: _repeats, queuedAtMs, ...rest } = queued;
  const unknown = { reason: null, message: null, usage: null, backend: null, finishedAtMs: null };
  return { ...rest, ...unknown, state: 'queued', queued: true, completion: false, epoch: 0, startedAtMs: queuedAtMs };
}

async function openConversation(
  rooms: ArchiveRooms,
  principal: Principal,
  row: ConversationRow,
): Promise<Conversation> {
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const { id, assistant, createdAtMs, updatedAtMs } = row;
  const title = row.title === null ? null : vault.openText({ table: 'conversations', row: `${id}/title` }, row.title);
  const metadata =
    row.metadata === null ? {} : (JSON.parse(vault.openText(metadataPlace(id), row.metadata)) as Metadata);
  return { id, assistant, title, metadata, createdAtMs, updatedAtMs };
}

/** Each row under its own subject's key: an application may read across people. */
function openItems(rooms: ArchiveRooms, principal: Principal, rows: readonly ItemRow[]): Promise<Item[]> {
  return Promise.all(
    rows.map(async (row) =>
      shownTo(principal, openItem(await rooms.vault.subject(principal.tenant, row.subject), row)),
    ),
  );
}

function metadataPlace(id: Id<'conversation'>): { table: string; row: string } {
  return { table: 'conversations', row: `${id}/metadata` };
}

function noConversation(): UsherError {
  return new UsherError('not_found', 'There is no such conversation.');
}

function noTurn(): UsherError {
  return new UsherError('not_found', 'There is no such response.');
}
