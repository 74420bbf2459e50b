import { sql, type RawBuilder } from 'kysely';
import type { Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { ItemId } from '#conversation';
import type { Sealed } from '#vault';
import { contentQuery, insertQuery, type Session } from '../query.ts';
import { pageBytesMax, type ItemRow, type NewItem, type TenantStore } from '../store.ts';
import { takePositions } from './positions.ts';

const columns = [
  'items.id',
  'items.subject',
  'items.turn',
  'items.position',
  'items.content',
  'items.created_at_ms as createdAtMs',
] as const;

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

/** Matches the request once. */
const markAnswered = contentQuery<{ request: ItemId }, { id: string }>(({ db, arg, within }) =>
  db
    .updateTable('items')
    .set({ answered: sql`1` })
    .where(within('items'))
    .where('id', '=', arg('request'))
    .where('answered', '=', sql<number>`0`)
    .returning('id'),
);

/** Whether none of the requests that these items answer was answered before: now each is. */
export async function answerRequests(session: Session, reach: Reach, items: readonly NewItem[]): Promise<boolean> {
  // In one order, so that no two writers wait for each other.
  const requests = items.flatMap(({ answers }) => answers ?? []).toSorted();
  for (const request of requests) {
    if ((await markAnswered(session, reach, { request: request as ItemId })).length === 0) return false;
  }
  return true;
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

type Order = 'asc' | 'desc';

/** Sizes first: a row may be megabytes, as an image is, and no page is to hold a hundred of them. */
const selectPage = (order: Order, isAfter: boolean) =>
  contentQuery<PageArgs & { after: ItemId }, ItemRow>(({ db, arg, within }) =>
    db
      .with('page', (page) =>
        page
          .selectFrom('items')
          .select(['items.id', 'items.position', sql<number>`length(items.content)`.as('bytes')])
          .where(within('items'))
          .where('items.conversation', '=', arg('conversation'))
          .$if(isAfter, (query) =>
            query.where('items.position', order === 'asc' ? '>' : '<', (eb) =>
              eb
                .selectFrom('items')
                .select('items.position')
                .where(within('items'))
                .where('items.conversation', '=', arg('conversation'))
                .where('items.id', '=', arg('after')),
            ),
          )
          .orderBy('items.position', order)
          .limit(arg('limit')),
      )
      .with('sized', (sized) =>
        sized.selectFrom('page').select(['page.id', bytesBefore(sql`page.position ${sql.raw(order)}`).as('before')]),
      )
      .selectFrom('sized')
      .innerJoin('items', 'items.id', 'sized.id')
      .select(columns)
      .where(within('items'))
      .where('sized.before', '<', sql.lit(pageBytesMax))
      .orderBy('items.position', order),
  );

/** The bytes of the rows of a `page` that come before each, in this order. */
export function bytesBefore(order: RawBuilder<unknown>): RawBuilder<number> {
  return sql<number>`coalesce(sum(page.bytes) over (order by ${order} rows between unbounded preceding and 1 preceding), 0)`;
}

const pages = {
  'oldest-first': { first: selectPage('asc', false), after: selectPage('asc', true) },
  'newest-first': { first: selectPage('desc', false), after: selectPage('desc', true) },
} as const;

export const items = (
  session: Session,
  reach: Reach,
  ...[conversation, { limit, order, after }]: Parameters<TenantStore['items']>
): Promise<readonly ItemRow[]> => {
  const args = { conversation, limit, after: (after ?? '') as ItemId };
  return pages[order][after === undefined ? 'first' : 'after'](session, reach, args);
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
