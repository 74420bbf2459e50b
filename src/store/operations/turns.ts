import { sql } from 'kysely';
import { UsherError, type Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { TurnState } from '#conversation';
import type { ReleaseDigest } from '#release';
import type { Sealed } from '#vault';
import { contentQuery, systemQuery, Undo, type Session } from '../query.ts';
import type { BeginTurn, NewItem, NewTurn, RepeatKeys, TenantStore, TurnFinish } from '../store.ts';
import { cutConversation } from './deletions.ts';
import { answerRequests, insertItems } from './items.ts';
import { demandOwn } from './own.ts';
import { reasonOf, usageColumns, type UsageColumns } from './turn-columns.ts';
import { insertLastEvents } from './turn-events.ts';

/*
 * On PostgreSQL every write takes the conversation's row before the turn's, so that two writers of
 * one conversation queue and never wait for each other in a circle.
 */

const takeConversation = contentQuery<
  { id: Id<'conversation'>; count: number; assistant: string; release: ReleaseDigest; nowMs: number },
  { itemsMade: number; waiting: number }
>(({ db, arg, within }) =>
  db
    .updateTable('conversations')
    .set({
      assistant: sql`coalesce(assistant, ${arg('assistant')})`,
      release: sql`coalesce(${sql.ref('release')}, ${arg('release')})`,
      items_made: sql`items_made + ${arg('count')}`,
      updated_at_ms: arg('nowMs'),
    })
    .where(within('conversations'))
    .where('id', '=', arg('id'))
    .returning((eb) => [
      'items_made as itemsMade',
      eb
        .selectFrom('queued_turns')
        .select((queued) => queued.fn.countAll<number>().as('waiting'))
        .whereRef('queued_turns.tenant', '=', 'conversations.tenant')
        .whereRef('queued_turns.conversation', '=', 'conversations.id')
        .as('waiting'),
    ])
    .$castTo<{ itemsMade: number; waiting: number }>(),
);

export const selectTurnId = contentQuery<{ id: Id<'turn'> }, { id: Id<'turn'> }>(({ db, arg, within }) =>
  db.selectFrom('turns').select('id').where(within('turns')).where('id', '=', arg('id')),
);

type InsertedTurn = Omit<NewTurn, 'replaces' | 'background' | 'completion' | 'queued' | 'repeats'> & {
  tenant: TenantId;
  itemsMade: number;
  state: TurnState;
  background: number;
  completion: number;
  queued: number;
  idempotency: Uint8Array | null;
  body: Uint8Array | null;
};

/** Inserts nothing where the conversation has a running turn, or the idempotency key its turn. */
const insertTurn = systemQuery<InsertedTurn, { id: string }>(({ db, arg, nowMs }) =>
  db
    .insertInto('turns')
    .values({
      tenant: arg('tenant'),
      id: arg('id'),
      subject: arg('subject'),
      conversation: arg('conversation'),
      previous: arg('previous'),
      assistant: arg('assistant'),
      environment: arg('environment'),
      release: arg('release'),
      settings: arg('settings'),
      user_authorisation: arg('userAuthorisation'),
      state: arg('state'),
      items_made: arg('itemsMade'),
      started_at_ms: arg('startedAtMs'),
      owner: arg('owner'),
      lease_until_ms: sql`${nowMs} + ${arg('leaseMs')}`,
      epoch: sql`1`,
      attempts: sql`1`,
      background: arg('background'),
      completion: arg('completion'),
      queued: arg('queued'),
      cancel_asked: sql`0`,
      heard_until_ms: sql`0`,
      idempotency_key: arg('idempotency'),
      body_key: arg('body'),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('id'),
);

const selectByIdempotency = contentQuery<{ key: Uint8Array }, { turn: Id<'turn'>; body: Uint8Array | null }>(
  ({ db, arg, within }) =>
    db
      .selectFrom('turns')
      .select(['id as turn', 'body_key as body'])
      .where(within('turns'))
      .where('idempotency_key', '=', arg('key')),
);

const selectByBody = contentQuery<{ key: Uint8Array; since: number }, { turn: Id<'turn'>; body: Uint8Array | null }>(
  ({ db, arg, within }) =>
    db
      .selectFrom('turns')
      .select(['id as turn', 'body_key as body'])
      .where(within('turns'))
      .where('body_key', '=', arg('key'))
      .where('idempotency_key', 'is', null)
      .where('started_at_ms', '>=', arg('since'))
      .orderBy('started_at_ms', 'desc')
      .limit(sql<number>`1`),
);

export const repeatedAmongTurns = async (
  session: Session,
  reach: Reach,
  { idempotency, body }: RepeatKeys,
  sinceMs: number,
): Promise<{ readonly turn: Id<'turn'>; readonly body: Uint8Array | null } | undefined> => {
  const [same] = idempotency === null ? [] : await selectByIdempotency(session, reach, { key: idempotency });
  if (idempotency !== null || body === null) return same;
  return (await selectByBody(session, reach, { key: body, since: sinceMs }))[0];
};

export const beginTurn = async (
  session: Session,
  reach: Reach,
  ...[turn, input]: Parameters<TenantStore['beginTurn']>
): Promise<BeginTurn> => {
  demandOwn(reach, turn.subject);
  const waiting = await insertBegun(session, reach, turn, input, 'running');
  if (waiting.result !== 'begun') return waiting.result;
  // None overtakes those that wait.
  if (waiting.count > 0) throw new Undo('locked' satisfies BeginTurn);
  return 'begun';
};

/**
 * The turn in `state` with its input, and how many of its conversation wait in the queue. What was
 * not said in the end (`isSaid` false) is kept with its turn alone, and enters no conversation.
 */
export async function insertBegun(
  session: Session,
  reach: Reach,
  turn: NewTurn,
  input: readonly NewItem[],
  state: TurnState,
  isSaid = true,
): Promise<{ result: 'begun'; count: number } | { result: 'conversation_missing' }> {
  let firstPosition = 1;
  let count = 0;
  if (turn.conversation !== null && isSaid) {
    const [taken] = await takeConversation(session, reach, {
      id: turn.conversation,
      count: input.length,
      assistant: turn.assistant,
      release: turn.release,
      nowMs: turn.startedAtMs,
    });
    if (taken === undefined) return { result: 'conversation_missing' };
    count = taken.waiting;
    firstPosition = taken.itemsMade - input.length + 1;
    if (turn.replaces !== undefined) await cutConversation(session, reach, turn.conversation, turn.replaces);
  }
  if (isSaid && turn.previous !== null && (await selectTurnId(session, reach, { id: turn.previous })).length === 0) {
    throw new Undo('previous_missing' satisfies BeginTurn);
  }
  const { background, completion, queued, repeats, replaces: _replaces, ...columns } = turn;
  const inserted = await insertTurn(session, {
    ...columns,
    ...repeats,
    background: background ? 1 : 0,
    completion: completion ? 1 : 0,
    queued: queued ? 1 : 0,
    tenant: reach.tenant,
    itemsMade: input.length,
    state,
  });
  if (inserted.length === 0) throw await whyNotInserted(session, reach, turn);
  if (isSaid && !(await answerRequests(session, reach, input))) throw new Undo('answered' satisfies BeginTurn);
  await insertItems(session, input, {
    tenant: reach.tenant,
    subject: turn.subject,
    conversation: isSaid ? turn.conversation : null,
    turn: turn.id,
    part: 'input',
    firstPosition,
    createdAtMs: turn.startedAtMs,
  });
  return { result: 'begun', count };
}

async function whyNotInserted(session: Session, { tenant }: Reach, turn: NewTurn): Promise<Error | Undo> {
  const whole = { tenant, subject: null };
  const { idempotency } = turn.repeats;
  if (idempotency !== null && (await selectByIdempotency(session, whole, { key: idempotency })).length > 0) {
    return new Undo('repeated' satisfies BeginTurn);
  }
  if ((await selectTurnId(session, whole, { id: turn.id })).length > 0) {
    return new UsherError('conflict', 'A turn with this id exists already.');
  }
  return new Undo('locked' satisfies BeginTurn);
}

const takeConversationOfTurn = contentQuery<
  { id: Id<'turn'>; epoch: number; running: TurnState; count: number; nowMs: number },
  { itemsMade: number }
>(({ db, arg, within }) =>
  db
    .updateTable('conversations')
    .set({ items_made: sql`items_made + ${arg('count')}`, updated_at_ms: arg('nowMs') })
    .where((eb) =>
      eb(
        eb.refTuple('tenant', 'id'),
        '=',
        eb
          .selectFrom('turns')
          .select(['tenant', 'conversation'])
          .where(within('turns'))
          .where('id', '=', arg('id'))
          .where('state', '=', arg('running'))
          .where('epoch', '=', arg('epoch'))
          .$castTo<{ tenant: TenantId; conversation: Id<'conversation'> }>()
          .$asTuple('tenant', 'conversation'),
      ),
    )
    .returning('items_made as itemsMade'),
);

interface FinishArgs extends UsageColumns {
  id: Id<'turn'>;
  epoch: number;
  running: TurnState;
  state: TurnState;
  reason: string | null;
  message: string | null;
  backend: string | null;
  count: number;
  finishedAtMs: number;
  /** 1 where a repeat of its request still finds it: by its idempotency key, by its body. */
  keepsKey: number;
  keepsBody: number;
}

const finishRunning = contentQuery<
  FinishArgs,
  { subject: SubjectId; conversation: Id<'conversation'> | null; itemsMade: number }
>(({ db, arg, within }) =>
  db
    .updateTable('turns')
    .set({
      state: arg('state'),
      reason: arg('reason'),
      message: arg('message'),
      backend: arg('backend'),
      input_tokens: arg('inputTokens'),
      cached_input_tokens: arg('cachedInputTokens'),
      output_tokens: arg('outputTokens'),
      reasoning_tokens: arg('reasoningTokens'),
      usage_estimated: arg('usageEstimated'),
      items_made: sql`items_made + ${arg('count')}`,
      finished_at_ms: arg('finishedAtMs'),
      idempotency_key: sql`case when ${arg('keepsKey')} = 1 then idempotency_key end`,
      // Beside its idempotency key it tells whether that came with another request.
      body_key: sql`case when ${arg('keepsKey')} = 1 and (${arg('keepsBody')} = 1 or idempotency_key is not null) then body_key end`,
      user_authorisation: sql`null`,
    })
    .where(within('turns'))
    .where('id', '=', arg('id'))
    .where('state', '=', arg('running'))
    .where('epoch', '=', arg('epoch'))
    .returning(['subject', 'conversation', 'items_made as itemsMade']),
);

export const finishTurn = async (
  session: Session,
  reach: Reach,
  ...[id, epoch, finish, output, events]: Parameters<TenantStore['finishTurn']>
): Promise<boolean> => {
  const count = output.length;
  const running = 'running';
  const nowMs = finish.finishedAtMs;
  const [taken] = await takeConversationOfTurn(session, reach, { id, epoch, running, count, nowMs });
  const [turn] = await finishRunning(session, reach, { id, epoch, running, count, ...finishColumns(finish) });
  if (turn === undefined) throw new Undo(false);
  await insertItems(session, output, {
    tenant: reach.tenant,
    subject: turn.subject,
    conversation: turn.conversation,
    turn: id,
    part: 'output',
    firstPosition: (taken ?? turn).itemsMade - count + 1,
    createdAtMs: finish.finishedAtMs,
  });
  if (events !== undefined) {
    const { tenant } = reach;
    await insertLastEvents(session, { ...events, tenant, subject: turn.subject, turn: id, epoch, createdAtMs: nowMs });
  }
  return true;
};

/** Ends a turn that `insertBegun` put there as ended: it never ran. */
export const finishInserted = async (
  session: Session,
  reach: Reach,
  id: Id<'turn'>,
  finish: TurnFinish,
): Promise<void> => {
  const running = finish.outcome.state;
  await finishRunning(session, reach, { id, epoch: 1, running, count: 0, ...finishColumns(finish) });
};

function finishColumns(finish: TurnFinish): Omit<FinishArgs, 'id' | 'epoch' | 'running' | 'count'> {
  const { outcome, usage, backend, finishedAtMs, isHeard } = finish;
  const message = outcome.state === 'failed' ? outcome.message : null;
  const isAnswer = outcome.state === 'completed' || outcome.state === 'incomplete';
  const keeps = { keepsKey: isAnswer ? 1 : 0, keepsBody: isAnswer && !isHeard ? 1 : 0 };
  const told = { state: outcome.state, reason: reasonOf(outcome), message, backend, finishedAtMs };
  return { ...told, ...keeps, ...usageColumns(usage) };
}

const forgetBody = contentQuery<{ id: Id<'turn'>; running: TurnState }, never>(({ db, arg, within }) =>
  db
    .updateTable('turns')
    .set({ body_key: sql`null` })
    .where(within('turns'))
    .where('id', '=', arg('id'))
    .where('state', '<>', arg('running'))
    .where('body_key', 'is not', null)
    .where('idempotency_key', 'is', null),
);

export const endHeard = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<void> =>
  void (await forgetBody(session, reach, { id, running: 'running' }));

const replaceSettings = contentQuery<{ id: Id<'turn'>; settings: Sealed }, { id: string }>(({ db, arg, within }) =>
  db
    .updateTable('turns')
    .set({ settings: arg('settings') })
    .where(within('turns'))
    .where('id', '=', arg('id'))
    .returning('id'),
);

export const updateTurnSettings = async (
  session: Session,
  reach: Reach,
  ...[id, settings]: Parameters<TenantStore['updateTurnSettings']>
): Promise<boolean> => (await replaceSettings(session, reach, { id, settings })).length > 0;
