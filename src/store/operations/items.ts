import type { Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { ItemId } from '#conversation';
import type { Sealed } from '#vault';
import { contentQuery, insertQuery, type Session } from '../query.ts';
import type { ItemRow, NewItem, TenantStore } from '../store.ts';
import { takePositions } from './positions.ts';

const columns = ['id', 'subject', 'turn', 'position', 'content', 'created_at_ms as createdAtMs'] as const;

interface StoredItem {
  readonly tenant: TenantId;
  readonly id: ItemId;
  readonly subject: SubjectId;
  readonly conversation: Id<'conversation'> | null;
  readonly turn: Id<'turn'> | null;
  readonly part: 'input' | 'output' | null;
  readonly position: number;
  readonly content: Sealed;
  readonly createdAtMs: number;
}

const insertStoredItems = insertQuery<StoredItem>((db, rows) =>
  db.insertInto('items').values(
    rows.map((row) => ({
      tenant: row.tenant,
      id: row.id,
      subject: row.subject,
      conversation: row.conversation,
      turn: row.turn,
      part: row.part,
      position: row.position,
      content: row.content,
      created_at_ms: row.createdAtMs,
    })),
  ),
);

/** Items of one writer, in order, at positions that the transaction has been given. */
export async function insertItems(
  session: Session,
  items: readonly NewItem[],
  common: Omit<StoredItem, 'id' | 'content' | 'position'> & { readonly firstPosition: number },
): Promise<void> {
  const { firstPosition, ...rest } = common;
  await insertStoredItems(
    session,
    items.map(({ id, content }, index) => ({ ...rest, id, content, position: firstPosition + index })),
  );
}

export const appendItems = async (
  session: Session,
  reach: Reach,
  ...[conversation, items, nowMs]: Parameters<TenantStore['appendItems']>
): Promise<boolean> => {
  const taken = await takePositions(session, reach, { id: conversation, count: items.length, nowMs });
  if (taken === undefined) return false;
  await insertItems(session, items, {
    tenant: reach.tenant,
    subject: taken.subject,
    conversation,
    turn: null,
    part: null,
    firstPosition: taken.first,
    createdAtMs: nowMs,
  });
  return true;
};

interface PageArgs {
  conversation: Id<'conversation'>;
  limit: number;
}

const selectOldest = contentQuery<PageArgs, ItemRow>(({ db, arg, within }) =>
  db
    .selectFrom('items')
    .select(columns)
    .where(within('items'))
    .where('conversation', '=', arg('conversation'))
    .orderBy('position', 'asc')
    .limit(arg('limit')),
);

const selectNewest = contentQuery<PageArgs, ItemRow>(({ db, arg, within }) =>
  db
    .selectFrom('items')
    .select(columns)
    .where(within('items'))
    .where('conversation', '=', arg('conversation'))
    .orderBy('position', 'desc')
    .limit(arg('limit')),
);

const selectAfter = (order: 'asc' | 'desc') =>
  contentQuery<PageArgs & { after: ItemId }, ItemRow>(({ db, arg, within }) =>
    db
      .selectFrom('items')
      .select(columns)
      .where(within('items'))
      .where('conversation', '=', arg('conversation'))
      .where('position', order === 'asc' ? '>' : '<', (eb) =>
        eb
          .selectFrom('items')
          .select('position')
          .where(within('items'))
          .where('conversation', '=', arg('conversation'))
          .where('id', '=', arg('after')),
      )
      .orderBy('position', order)
      .limit(arg('limit')),
  );

const selectOldestAfter = selectAfter('asc');
const selectNewestAfter = selectAfter('desc');

export const items = (
  session: Session,
  reach: Reach,
  ...[conversation, { limit, order, after }]: Parameters<TenantStore['items']>
): Promise<readonly ItemRow[]> => {
  const oldestFirst = order === 'oldest-first';
  if (after === undefined) {
    return (oldestFirst ? selectOldest : selectNewest)(session, reach, { conversation, limit });
  }
  const args = { conversation, limit, after: after as ItemId };
  return (oldestFirst ? selectOldestAfter : selectNewestAfter)(session, reach, args);
};

const selectItem = contentQuery<{ conversation: Id<'conversation'>; id: ItemId }, ItemRow>(({ db, arg, within }) =>
  db
    .selectFrom('items')
    .select(columns)
    .where(within('items'))
    .where('conversation', '=', arg('conversation'))
    .where('id', '=', arg('id')),
);

export const item = async (
  session: Session,
  reach: Reach,
  ...[conversation, id]: Parameters<TenantStore['item']>
): Promise<ItemRow | undefined> => (await selectItem(session, reach, { conversation, id: id as ItemId }))[0];

const selectStoredItem = contentQuery<{ id: ItemId }, ItemRow>(({ db, arg, within }) =>
  db.selectFrom('items').select(columns).where(within('items')).where('id', '=', arg('id')),
);

export const storedItem = async (
  session: Session,
  reach: Reach,
  id: Parameters<TenantStore['storedItem']>[0],
): Promise<ItemRow | undefined> => (await selectStoredItem(session, reach, { id: id as ItemId }))[0];

const removeItem = contentQuery<{ conversation: Id<'conversation'>; id: ItemId }, { id: string }>(
  ({ db, arg, within }) =>
    db
      .deleteFrom('items')
      .where(within('items'))
      .where('conversation', '=', arg('conversation'))
      .where('id', '=', arg('id'))
      .returning('id'),
);

export const deleteItem = async (
  session: Session,
  reach: Reach,
  ...[conversation, id]: Parameters<TenantStore['deleteItem']>
): Promise<boolean> => (await removeItem(session, reach, { conversation, id: id as ItemId })).length > 0;
