import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach, TenantId } from '#access';
import type { ItemId, TurnState } from '#conversation';
import { contentQuery, type Session } from '../query.ts';
import type { TenantStore } from '../store.ts';
import { forgetTitle } from './conversations.ts';
import { dropLoneHandover } from './handovers.ts';

/** As every write, these take the conversation's row first. */
const holdConversation = contentQuery<{ id: Id<'conversation'> }, { id: Id<'conversation'> }>(({ db, arg, within }) =>
  db
    .updateTable('conversations')
    .set({ items_made: sql`items_made` })
    .where(within('conversations'))
    .where('id', '=', arg('id'))
    .returning('id'),
);

const holdConversationOfTurn = contentQuery<{ id: Id<'turn'> }, { id: Id<'conversation'> }>(({ db, arg, within }) =>
  db
    .updateTable('conversations')
    .set({ items_made: sql`items_made` })
    .where((eb) =>
      eb(
        eb.refTuple('tenant', 'id'),
        '=',
        eb
          .selectFrom('turns')
          .select(['tenant', 'conversation'])
          .where(within('turns'))
          .where('id', '=', arg('id'))
          .$castTo<{ tenant: TenantId; conversation: Id<'conversation'> }>()
          .$asTuple('tenant', 'conversation'),
      ),
    )
    .returning('id'),
);

const removeItem = contentQuery<
  { conversation: Id<'conversation'>; id: ItemId },
  { turn: Id<'turn'> | null; position: number }
>(({ db, arg, within }) =>
  db
    .deleteFrom('items')
    .where(within('items'))
    .where('conversation', '=', arg('conversation'))
    .where('id', '=', arg('id'))
    .returning(['turn', 'position']),
);

/** Those of our own, which say it in other words; one that a caller brought is part of what they said. */
const removeSummaries = contentQuery<
  { conversation: Id<'conversation'>; after: number; output: 'output' },
  { turn: Id<'turn'> }
>(({ db, arg, within }) =>
  db
    .deleteFrom('items')
    .where(within('items'))
    .where('conversation', '=', arg('conversation'))
    .where('position', '>', arg('after'))
    .where('part', '=', arg('output'))
    .where('id', 'like', sql<ItemId>`'cmp%'`)
    .returning('turn')
    .$castTo<{ turn: Id<'turn'> }>(),
);

const selectFirstPosition = contentQuery<{ conversation: Id<'conversation'>; turn: Id<'turn'> }, { position: number }>(
  ({ db, arg, within }) =>
    db
      .selectFrom('items')
      .select('position')
      .where(within('items'))
      .where('conversation', '=', arg('conversation'))
      .where('turn', '=', arg('turn'))
      .orderBy('position')
      .limit(sql<number>`1`),
);

/** Those of a turn that runs stay, since whoever goes on with it needs them: of stored items they tell nothing. */
const removeEvents = contentQuery<{ turn: Id<'turn'>; running: TurnState }, never>(({ db, arg, within }) =>
  db
    .deleteFrom('turn_events')
    .where(within('turn_events'))
    .where('turn', '=', arg('turn'))
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('turns')
          .select('turns.id')
          .whereRef('turns.tenant', '=', 'turn_events.tenant')
          .whereRef('turns.id', '=', 'turn_events.turn')
          .where('turns.state', '<>', arg('running')),
      ),
    ),
);

/** What was told of what stood at this place of the conversation: by summaries after it, with their events, and by its title. */
async function forgetTold(
  session: Session,
  reach: Reach,
  conversation: Id<'conversation'>,
  position: number,
): Promise<void> {
  const summaries = await removeSummaries(session, reach, { conversation, after: position, output: 'output' });
  for (const { turn } of summaries) await removeEvents(session, reach, { turn, running: 'running' });
  await forgetTitle(session, reach, { id: conversation });
}

export const deleteItem = async (
  session: Session,
  reach: Reach,
  ...[conversation, id]: Parameters<TenantStore['deleteItem']>
): Promise<boolean> => {
  await holdConversation(session, reach, { id: conversation });
  const [removed] = await removeItem(session, reach, { conversation, id: id as ItemId });
  if (removed === undefined) return false;
  const { turn, position } = removed;
  if (turn !== null) await removeEvents(session, reach, { turn, running: 'running' });
  await forgetTold(session, reach, conversation, position);
  return true;
};

const removeFrom = contentQuery<{ conversation: Id<'conversation'>; id: ItemId }, { turn: Id<'turn'> | null }>(
  ({ db, arg, within }) =>
    db
      .deleteFrom('items')
      .where(within('items'))
      .where('conversation', '=', arg('conversation'))
      .where('position', '>=', (eb) =>
        eb
          .selectFrom('items as first')
          .select('first.position')
          .whereRef('first.tenant', '=', 'items.tenant')
          .where('first.conversation', '=', arg('conversation'))
          .where('first.id', '=', arg('id')),
      )
      .returning('turn'),
);

/** Deletes an item and all that comes after it; nothing where it is not there. Its caller holds the conversation. */
export async function cutConversation(
  session: Session,
  reach: Reach,
  conversation: Id<'conversation'>,
  id: ItemId,
): Promise<void> {
  const removed = await removeFrom(session, reach, { conversation, id });
  for (const turn of new Set(removed.flatMap((item) => item.turn ?? []))) {
    await removeEvents(session, reach, { turn, running: 'running' });
  }
  await forgetTitle(session, reach, { id: conversation });
}

const removeTurn = contentQuery<{ id: Id<'turn'> }, { handover: Id<'handover'> | null }>(({ db, arg, within }) =>
  db.deleteFrom('turns').where(within('turns')).where('id', '=', arg('id')).returning('handover'),
);

/** Items, events and feedback go with it by their foreign keys. */
export const deleteTurn = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<boolean> => {
  const [held] = await holdConversationOfTurn(session, reach, { id });
  const [first] =
    held === undefined ? [] : await selectFirstPosition(session, reach, { conversation: held.id, turn: id });
  const [removed] = await removeTurn(session, reach, { id });
  if (removed?.handover != null) await dropLoneHandover(session, reach, removed.handover);
  if (held !== undefined && first !== undefined) await forgetTold(session, reach, held.id, first.position);
  return removed !== undefined;
};
