import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach, TenantId } from '#access';
import type { Sealed } from '#vault';
import { contentQuery, insertQuery, type Session } from '../query.ts';
import type { ConversationRow, TenantStore } from '../store.ts';
import { insertItems } from './items.ts';
import { demandOwn } from './own.ts';

const columns = [
  'id',
  'subject',
  'assistant',
  'release',
  'title',
  'metadata',
  'created_at_ms as createdAtMs',
  'updated_at_ms as updatedAtMs',
] as const;

interface NewConversation extends Omit<ConversationRow, 'updatedAtMs'> {
  readonly tenant: TenantId;
  readonly itemsMade: number;
}

const insertConversation = insertQuery<NewConversation>((db, rows) =>
  db.insertInto('conversations').values(
    rows.map((row) => ({
      tenant: row.tenant,
      id: row.id,
      subject: row.subject,
      assistant: row.assistant,
      release: row.release,
      title: row.title,
      metadata: row.metadata,
      items_made: row.itemsMade,
      created_at_ms: row.createdAtMs,
      updated_at_ms: row.createdAtMs,
    })),
  ),
);

export const createConversation = async (
  session: Session,
  reach: Reach,
  ...[row, items]: Parameters<TenantStore['createConversation']>
): Promise<void> => {
  demandOwn(reach, row.subject);
  await insertConversation(session, [{ ...row, tenant: reach.tenant, itemsMade: items.length }]);
  await insertItems(session, items, {
    tenant: reach.tenant,
    subject: row.subject,
    conversation: row.id,
    turn: null,
    part: null,
    firstPosition: 1,
    createdAtMs: row.createdAtMs,
  });
};

const selectConversation = contentQuery<{ id: Id<'conversation'> }, ConversationRow>(({ db, arg, within }) =>
  db.selectFrom('conversations').select(columns).where(within('conversations')).where('id', '=', arg('id')),
);

export const conversation = async (
  session: Session,
  reach: Reach,
  id: Id<'conversation'>,
): Promise<ConversationRow | undefined> => (await selectConversation(session, reach, { id }))[0];

const selectNewest = contentQuery<{ assistant: string; limit: number }, ConversationRow>(({ db, arg, within }) =>
  db
    .selectFrom('conversations')
    .select(columns)
    .where(within('conversations'))
    .where('assistant', '=', arg('assistant'))
    .where('release', 'is not', null)
    .orderBy('updated_at_ms', 'desc')
    .orderBy('id', 'desc')
    .limit(arg('limit')),
);

const selectNewestAfter = contentQuery<
  { assistant: string; limit: number; after: Id<'conversation'> },
  ConversationRow
>(({ db, arg, within }) =>
  db
    .selectFrom('conversations')
    .select(columns)
    .where(within('conversations'))
    .where('assistant', '=', arg('assistant'))
    .where('release', 'is not', null)
    .where((eb) =>
      eb(
        eb.refTuple('updated_at_ms', 'id'),
        '<',
        // A cursor outside the reach selects no row: the comparison is null and the page empty.
        eb
          .selectFrom('conversations')
          .select(['updated_at_ms', 'id'])
          .where(within('conversations'))
          .where('id', '=', arg('after'))
          .$asTuple('updated_at_ms', 'id'),
      ),
    )
    .orderBy('updated_at_ms', 'desc')
    .orderBy('id', 'desc')
    .limit(arg('limit')),
);

export const listConversations = (
  session: Session,
  reach: Reach,
  ...[assistant, { limit, after }]: Parameters<TenantStore['listConversations']>
): Promise<readonly ConversationRow[]> =>
  after === undefined
    ? selectNewest(session, reach, { assistant, limit })
    : selectNewestAfter(session, reach, { assistant, limit, after });

const updateTitle = contentQuery<{ id: Id<'conversation'>; content: Sealed; of: string }, { id: string }>(
  ({ db, arg, within }) =>
    db
      .updateTable('conversations')
      .set({ title: arg('content'), titled_by: arg('of') })
      .where(within('conversations'))
      .where('id', '=', arg('id'))
      .returning('id'),
);

/** Where the item is gone that the title was made of. */
export const forgetTitle = contentQuery<{ id: Id<'conversation'> }, never>(({ db, arg, within }) =>
  db
    .updateTable('conversations')
    .set({ title: sql`null`, titled_by: sql`null` })
    .where(within('conversations'))
    .where('id', '=', arg('id'))
    .where('titled_by', 'is not', null)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('items')
            .select('items.id')
            .whereRef('items.tenant', '=', 'conversations.tenant')
            .whereRef('items.id', '=', 'conversations.titled_by'),
        ),
      ),
    ),
);

const updateMetadata = contentQuery<{ id: Id<'conversation'>; metadata: Sealed | null }, { id: string }>(
  ({ db, arg, within }) =>
    db
      .updateTable('conversations')
      .set({ metadata: arg('metadata') })
      .where(within('conversations'))
      .where('id', '=', arg('id'))
      .returning('id'),
);

export const updateConversation = async (
  session: Session,
  reach: Reach,
  ...[id, { title, metadata }]: Parameters<TenantStore['updateConversation']>
): Promise<boolean> => {
  if (title !== undefined) {
    if ((await updateTitle(session, reach, { id, ...title })).length === 0) return false;
    // It may have gone since it was read.
    await forgetTitle(session, reach, { id });
  }
  if (metadata !== undefined) return (await updateMetadata(session, reach, { id, metadata })).length > 0;
  return (await selectConversation(session, reach, { id })).length > 0;
};

const removeConversation = contentQuery<{ id: Id<'conversation'> }, { id: string }>(({ db, arg, within }) =>
  db.deleteFrom('conversations').where(within('conversations')).where('id', '=', arg('id')).returning('id'),
);

/** Turns, items and feedback go with it by their foreign keys. */
export const deleteConversation = async (session: Session, reach: Reach, id: Id<'conversation'>): Promise<boolean> =>
  (await removeConversation(session, reach, { id })).length > 0;
