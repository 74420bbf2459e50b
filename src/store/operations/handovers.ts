import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { TurnState } from '#conversation';
import type { Sealed } from '#vault';
import { contentQuery, systemQuery, Undo, type Session } from '../query.ts';
import type { HandoverReply, HandoverRow, ListedHandover, TenantStore } from '../store.ts';
import { demandOwn } from './own.ts';

type State = HandoverRow['state'];

const columns = [
  'handovers.id',
  'handovers.subject',
  'handovers.assistant',
  'handovers.conversation',
  'handovers.state',
  'handovers.opened_by as openedBy',
  'handovers.opened_at_ms as openedAtMs',
  'handovers.ended_at_ms as endedAtMs',
] as const;

type Thread = {
  id: Id<'handover'> | null;
  conversation: Id<'conversation'> | null;
  turn: Id<'turn'> | null;
  open: State;
};

const selectOpen = contentQuery<Thread, HandoverRow>(({ db, arg, within }) =>
  db
    .selectFrom('handovers')
    .select(columns)
    .where(within('handovers'))
    .where('handovers.state', '=', arg('open'))
    .where((eb) =>
      eb.or([
        eb('handovers.id', '=', arg('id')),
        eb('handovers.conversation', '=', arg('conversation')),
        eb(
          'handovers.id',
          '=',
          eb.selectFrom('turns').select('turns.handover').where(within('turns')).where('turns.id', '=', arg('turn')),
        ),
      ]),
    ),
);

export const openHandoverOf = async (
  session: Session,
  reach: Reach,
  ...[conversation, turn]: Parameters<TenantStore['openHandoverOf']>
): Promise<HandoverRow | undefined> =>
  (await selectOpen(session, reach, { id: null, conversation, turn, open: 'open' }))[0];

const selectConversation = contentQuery<{ id: Id<'conversation'> }, { id: string }>(({ db, arg, within }) =>
  db.selectFrom('conversations').select('id').where(within('conversations')).where('id', '=', arg('id')),
);

const insertHandover = systemQuery<
  Omit<HandoverRow, 'endedAtMs'> & { readonly tenant: TenantId },
  { id: Id<'handover'> }
>(({ db, arg }) =>
  db
    .insertInto('handovers')
    .values({
      tenant: arg('tenant'),
      id: arg('id'),
      subject: arg('subject'),
      assistant: arg('assistant'),
      conversation: arg('conversation'),
      state: arg('state'),
      opened_by: arg('openedBy'),
      opened_at_ms: arg('openedAtMs'),
    })
    // Another opened one for the same conversation at the same moment.
    .onConflict((conflict) => conflict.doNothing())
    .returning('id'),
);

type Person = { readonly tenant: TenantId; readonly subject: SubjectId };

/** Holds the person's key, so that their handovers are counted by one at a time. */
const holdPerson = systemQuery<Person, { version: number }>(({ db, arg, dialect }) => {
  const held = db
    .selectFrom('subject_keys')
    .select('version')
    .where('tenant', '=', arg('tenant'))
    .where('subject', '=', arg('subject'));
  return dialect === 'postgres' ? held.forUpdate() : held;
});

const selectCount = systemQuery<Person & { readonly state: State }, { count: number }>(({ db, arg }) =>
  db
    .selectFrom('handovers')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('tenant', '=', arg('tenant'))
    .where('subject', '=', arg('subject'))
    .where('state', '=', arg('state')),
);

const countOpen = async (session: Session, person: Person): Promise<number> =>
  (await selectCount(session, { ...person, state: 'open' }))[0]?.count ?? 0;

const joinTurn = contentQuery<{ turn: Id<'turn'>; handover: Id<'handover'> }, never>(({ db, arg, within }) =>
  db
    .updateTable('turns')
    .set({ handover: arg('handover') })
    .where(within('turns'))
    .where('id', '=', arg('turn')),
);

export const openHandover = async (
  session: Session,
  reach: Reach,
  ...[row, turn, mostOpen]: Parameters<TenantStore['openHandover']>
): Promise<HandoverRow | undefined> => {
  demandOwn(reach, row.subject);
  const { conversation } = row;
  if (conversation !== null && (await selectConversation(session, reach, { id: conversation })).length === 0) {
    return undefined;
  }
  const person = { tenant: reach.tenant, subject: row.subject };
  if (mostOpen !== null) await holdPerson(session, person);
  const thread = { id: row.id, conversation, turn, open: 'open' } as const;
  let [handover] = await selectOpen(session, reach, thread);
  if (handover === undefined) {
    if (mostOpen !== null && (await countOpen(session, person)) >= mostOpen) return undefined;
    const fresh = { ...row, state: 'open', endedAtMs: null } as const;
    const inserted = await insertHandover(session, { ...fresh, tenant: reach.tenant });
    handover = inserted.length > 0 ? fresh : (await selectOpen(session, reach, thread))[0];
  }
  if (handover !== undefined && turn !== null) await joinTurn(session, reach, { turn, handover: handover.id });
  return handover;
};

const selectReply = contentQuery<{ turn: Id<'turn'> }, HandoverReply>(({ db, arg, within }) =>
  db
    .selectFrom('turns')
    .innerJoin('handovers', (join) =>
      join.onRef('handovers.tenant', '=', 'turns.tenant').onRef('handovers.id', '=', 'turns.handover'),
    )
    .select(['handovers.id', 'handovers.opened_at_ms as openedAtMs', 'handovers.state', 'turns.reply'])
    .where(within('turns'))
    .where('turns.id', '=', arg('turn')),
);

export const replyTo = async (session: Session, reach: Reach, turn: Id<'turn'>): Promise<HandoverReply | undefined> =>
  (await selectReply(session, reach, { turn }))[0];

/** Taken first, so that an answer and the end of its handover queue. */
const holdOpen = contentQuery<{ id: Id<'handover'>; open: State }, { id: string }>(({ db, arg, within }) =>
  db
    .updateTable('handovers')
    .set({ ended_at_ms: sql`null` })
    .where(within('handovers'))
    .where('id', '=', arg('id'))
    .where('state', '=', arg('open'))
    .returning('id'),
);

const setReply = contentQuery<
  { handover: Id<'handover'>; turn: Id<'turn'>; reply: Sealed; running: TurnState },
  { id: string }
>(({ db, arg, within }) =>
  db
    .updateTable('turns')
    .set({ reply: arg('reply') })
    .where(within('turns'))
    .where('id', '=', arg('turn'))
    .where('handover', '=', arg('handover'))
    .where('state', '=', arg('running'))
    .where('reply', 'is', null)
    .returning('id'),
);

export const putReply = async (
  session: Session,
  reach: Reach,
  ...[handover, turn, reply]: Parameters<TenantStore['putReply']>
): Promise<boolean> => {
  if ((await holdOpen(session, reach, { id: handover, open: 'open' })).length === 0) throw new Undo(false);
  return (await setReply(session, reach, { handover, turn, reply, running: 'running' })).length > 0;
};

const endOpen = contentQuery<{ id: Id<'handover'>; open: State; state: State; nowMs: number }, { id: string }>(
  ({ db, arg, within }) =>
    db
      .updateTable('handovers')
      .set({ state: arg('state'), ended_at_ms: arg('nowMs') })
      .where(within('handovers'))
      .where('id', '=', arg('id'))
      .where('state', '=', arg('open'))
      .returning('id'),
);

export const endHandover = async (
  session: Session,
  reach: Reach,
  ...[id, state, nowMs]: Parameters<TenantStore['endHandover']>
): Promise<boolean> => (await endOpen(session, reach, { id, open: 'open', state, nowMs })).length > 0;

/** The turns of a handover: the one that waits for an answer, and the last. */
const turnColumns = (running: TurnState) =>
  [
    sql<Id<'turn'> | null>`(select max(t.id) from turns t where t.tenant = handovers.tenant
      and t.handover = handovers.id and t.state = ${running} and t.reply is null)`.as('waiting'),
    sql<Id<'turn'> | null>`(select max(t.id) from turns t where t.tenant = handovers.tenant
      and t.handover = handovers.id)`.as('latest'),
  ] as const;

const selectHandover = contentQuery<{ id: Id<'handover'>; running: TurnState }, ListedHandover>(({ db, arg, within }) =>
  db
    .selectFrom('handovers')
    .select([...columns, ...turnColumns(arg('running'))])
    .where(within('handovers'))
    .where('handovers.id', '=', arg('id')),
);

export const handover = async (
  session: Session,
  reach: Reach,
  id: Id<'handover'>,
): Promise<ListedHandover | undefined> => (await selectHandover(session, reach, { id, running: 'running' }))[0];

const selectOpenPage = contentQuery<{ open: State; running: TurnState; after: string; limit: number }, ListedHandover>(
  ({ db, arg, within }) =>
    db
      .selectFrom('handovers')
      .select([...columns, ...turnColumns(arg('running'))])
      .where(within('handovers'))
      .where('handovers.state', '=', arg('open'))
      // An id that is not within reach is no place to go on from.
      .where((eb) =>
        eb.or([
          eb(sql<string>`${arg('after')}`, '=', sql<string>`''`),
          eb.and([
            eb('handovers.id', '>', arg('after') as Id<'handover'>),
            eb.exists(
              eb
                .selectFrom('handovers as cursor')
                .select('cursor.id')
                .whereRef('cursor.tenant', '=', 'handovers.tenant')
                .where('cursor.id', '=', arg('after') as Id<'handover'>),
            ),
          ]),
        ]),
      )
      .orderBy('handovers.id')
      .limit(arg('limit')),
);

export const openHandovers = (
  session: Session,
  reach: Reach,
  { limit, after }: Parameters<TenantStore['openHandovers']>[0],
): Promise<readonly ListedHandover[]> =>
  selectOpenPage(session, reach, { open: 'open', running: 'running', after: after ?? '', limit });

const removeLone = contentQuery<{ id: Id<'handover'> }, never>(({ db, arg, within }) =>
  db
    .deleteFrom('handovers')
    .where(within('handovers'))
    .where('id', '=', arg('id'))
    .where('conversation', 'is', null)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('turns')
            .select('turns.id')
            .whereRef('turns.tenant', '=', 'handovers.tenant')
            .whereRef('turns.handover', '=', 'handovers.id'),
        ),
      ),
    ),
);

/** The handover of a chain of turns goes with the last of them; that of a conversation goes with it. */
export const dropLoneHandover = async (session: Session, reach: Reach, id: Id<'handover'>): Promise<void> =>
  void (await removeLone(session, reach, { id }));
