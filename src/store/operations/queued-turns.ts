import { sql, type SqlBool } from 'kysely';
import type { Id } from '#base';
import type { Reach, TenantId } from '#access';
import { contentQuery, rowsQuery, Undo, type Session } from '../query.ts';
import type { BeginTurn, EnqueueTurn, QueuedTurn, RepeatKeys, TenantStore } from '../store.ts';
import { demandOwn } from './own.ts';
import { finishInserted, insertBegun, repeatedAmongTurns, selectTurnId } from './turns.ts';

/** Holds the conversation's row, so that its queue is counted by one at a time. */
const holdConversation = contentQuery<{ id: Id<'conversation'>; nowMs: number }, { waiting: number }>(
  ({ db, arg, within }) =>
    db
      .updateTable('conversations')
      .set({ updated_at_ms: arg('nowMs') })
      .where(within('conversations'))
      .where('id', '=', arg('id'))
      .returning((eb) =>
        eb
          .selectFrom('queued_turns')
          .select((queued) => queued.fn.countAll<number>().as('waiting'))
          .whereRef('queued_turns.tenant', '=', 'conversations.tenant')
          .whereRef('queued_turns.conversation', '=', 'conversations.id')
          .as('waiting'),
      )
      .$castTo<{ waiting: number }>(),
);

type FlatQueued = Omit<QueuedTurn, 'background' | 'repeats'> & {
  readonly background: number;
  readonly idempotency: Uint8Array | null;
  readonly body: Uint8Array | null;
};

/** Inserts nothing where another with its idempotency key came in between. */
const insertQueued = rowsQuery<FlatQueued & { readonly tenant: TenantId }, { id: string }>((db, rows) =>
  db
    .insertInto('queued_turns')
    .values(
      rows.map((row) => ({
        tenant: row.tenant,
        id: row.id,
        subject: row.subject,
        conversation: row.conversation,
        previous: row.previous,
        assistant: row.assistant,
        environment: row.environment,
        release: row.release,
        background: row.background,
        settings: row.settings,
        user_authorisation: row.userAuthorisation,
        input: row.input,
        idempotency_key: row.idempotency,
        body_key: row.body,
        queued_at_ms: row.queuedAtMs,
        deadline_ms: row.deadlineMs,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .returning('id'),
);

export const enqueueTurn = async (
  session: Session,
  reach: Reach,
  ...[turn, mostWaiting]: Parameters<TenantStore['enqueueTurn']>
): Promise<EnqueueTurn> => {
  demandOwn(reach, turn.subject);
  if (turn.conversation !== null) {
    const [held] = await holdConversation(session, reach, { id: turn.conversation, nowMs: turn.queuedAtMs });
    if (held === undefined) return 'conversation_missing';
    if (held.waiting >= mostWaiting) throw new Undo('full' satisfies EnqueueTurn);
  }
  if (turn.previous !== null && (await selectTurnId(session, reach, { id: turn.previous })).length === 0) {
    throw new Undo('previous_missing' satisfies EnqueueTurn);
  }
  const { background, repeats, ...columns } = turn;
  const keyed = { idempotency: repeats.idempotency, body: null };
  if (keyed.idempotency !== null && (await repeatedTurn(session, reach, keyed, 0)) !== undefined) {
    throw new Undo('repeated' satisfies EnqueueTurn);
  }
  const row = { ...columns, ...repeats, background: background ? 1 : 0, tenant: reach.tenant };
  if ((await insertQueued(session, [row])).length === 0) throw new Undo('repeated' satisfies EnqueueTurn);
  return 'queued';
};

const selectQueued = contentQuery<{ id: Id<'turn'> }, FlatQueued>(({ db, arg, within }) =>
  db
    .selectFrom('queued_turns')
    .select([
      'id',
      'subject',
      'conversation',
      'previous',
      'assistant',
      'environment',
      'release',
      'background',
      'settings',
      'user_authorisation as userAuthorisation',
      'input',
      'idempotency_key as idempotency',
      'body_key as body',
      'queued_at_ms as queuedAtMs',
      'deadline_ms as deadlineMs',
    ])
    .where(within('queued_turns'))
    .where('id', '=', arg('id')),
);

export const queuedTurn = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<QueuedTurn | undefined> => {
  const [flat] = await selectQueued(session, reach, { id });
  if (flat === undefined) return undefined;
  const { background, idempotency, body, ...rest } = flat;
  return { ...rest, background: background === 1, repeats: { idempotency, body } };
};

const selectWaiting = contentQuery<{ conversation: Id<'conversation'> }, { id: Id<'turn'> }>(({ db, arg, within }) =>
  db
    .selectFrom('queued_turns')
    .select('id')
    .where(within('queued_turns'))
    .where('conversation', '=', arg('conversation'))
    .orderBy('queued_at_ms')
    .orderBy('id'),
);

export const waitingTurns = async (
  session: Session,
  reach: Reach,
  conversation: Id<'conversation'>,
): Promise<readonly Id<'turn'>[]> => (await selectWaiting(session, reach, { conversation })).map(({ id }) => id);

const takeQueued = contentQuery<{ id: Id<'turn'> }, { queuedAtMs: number; conversation: Id<'conversation'> | null }>(
  ({ db, arg, within }) =>
    db
      .deleteFrom('queued_turns')
      .where(within('queued_turns'))
      .where('id', '=', arg('id'))
      .returning(['queued_at_ms as queuedAtMs', 'conversation']),
);

const selectEarlier = contentQuery<
  { id: Id<'turn'>; conversation: Id<'conversation'>; queuedAtMs: number },
  { id: Id<'turn'> }
>(({ db, arg, within }) =>
  db
    .selectFrom('queued_turns')
    .select('id')
    .where(within('queued_turns'))
    .where('conversation', '=', arg('conversation'))
    .where(sql<SqlBool>`(queued_at_ms, id) < (${arg('queuedAtMs')}, ${arg('id')})`)
    .limit(sql<number>`1`),
);

export const beginQueuedTurn = async (
  session: Session,
  reach: Reach,
  ...[turn, input]: Parameters<TenantStore['beginQueuedTurn']>
): Promise<BeginTurn | 'gone'> => {
  const [taken] = await takeQueued(session, reach, { id: turn.id });
  if (taken === undefined) return 'gone';
  const begun = await insertBegun(session, reach, turn, input, 'running');
  if (begun.result !== 'begun') throw new Undo(begun.result);
  if (taken.conversation !== null && begun.count > 0) {
    const { conversation, queuedAtMs } = taken;
    const earlier = await selectEarlier(session, reach, { id: turn.id, conversation, queuedAtMs });
    if (earlier.length > 0) throw new Undo('locked' satisfies BeginTurn);
  }
  return 'begun';
};

export const endQueuedTurn = async (
  session: Session,
  reach: Reach,
  ...[turn, input, finish]: Parameters<TenantStore['endQueuedTurn']>
): Promise<boolean> => {
  if ((await takeQueued(session, reach, { id: turn.id })).length === 0) return false;
  const ended = await insertBegun(session, reach, turn, input, finish.outcome.state, false);
  if (ended.result !== 'begun') throw new Undo(false);
  await finishInserted(session, reach, turn.id, finish);
  return true;
};

const queuedByIdempotency = contentQuery<{ key: Uint8Array }, { turn: Id<'turn'>; body: Uint8Array | null }>(
  ({ db, arg, within }) =>
    db
      .selectFrom('queued_turns')
      .select(['id as turn', 'body_key as body'])
      .where(within('queued_turns'))
      .where('idempotency_key', '=', arg('key')),
);

const queuedByBody = contentQuery<{ key: Uint8Array }, { turn: Id<'turn'>; body: Uint8Array | null }>(
  ({ db, arg, within }) =>
    db
      .selectFrom('queued_turns')
      .select(['id as turn', 'body_key as body'])
      .where(within('queued_turns'))
      .where('body_key', '=', arg('key'))
      .where('idempotency_key', 'is', null)
      .orderBy('queued_at_ms', 'desc')
      .limit(sql<number>`1`),
);

/** Several statements, so it runs as a write: a turn must not leave the queue between two of them. */
export const repeatedTurn = async (
  session: Session,
  reach: Reach,
  keys: RepeatKeys,
  sinceMs: number,
): Promise<{ readonly turn: Id<'turn'>; readonly body: Uint8Array | null } | undefined> => {
  const { idempotency, body } = keys;
  const [waiting] = idempotency === null ? [] : await queuedByIdempotency(session, reach, { key: idempotency });
  if (waiting !== undefined) return waiting;
  const [sameBody] = idempotency !== null || body === null ? [] : await queuedByBody(session, reach, { key: body });
  return sameBody ?? repeatedAmongTurns(session, reach, keys, sinceMs);
};
