import { sql } from 'kysely';
import { UsherError, type Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { TurnOutcome, TurnState, Usage } from '#conversation';
import type { ReleaseDigest } from '#release';
import { contentQuery, insertQuery, systemQuery, Undo, type Session } from '../query.ts';
import type {
  BeginTurn,
  ItemRow,
  NewItem,
  NewTurn,
  RepeatKeys,
  TenantStore,
  TurnFinish,
  TurnRow,
  UnstoredTurn,
} from '../store.ts';
import { insertItems } from './items.ts';
import { demandOwn } from './own.ts';
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

type InsertedTurn = Omit<NewTurn, 'background' | 'queued' | 'repeats'> & {
  tenant: TenantId;
  itemsMade: number;
  state: TurnState;
  background: number;
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
      state: arg('state'),
      items_made: arg('itemsMade'),
      started_at_ms: arg('startedAtMs'),
      owner: arg('owner'),
      lease_until_ms: sql`${nowMs} + ${arg('leaseMs')}`,
      epoch: sql`1`,
      attempts: sql`1`,
      background: arg('background'),
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
  if (same !== undefined || body === null) return same;
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
  }
  if (turn.previous !== null && (await selectTurnId(session, reach, { id: turn.previous })).length === 0) {
    throw new Undo('previous_missing' satisfies BeginTurn);
  }
  const { background, queued, repeats, ...columns } = turn;
  const inserted = await insertTurn(session, {
    ...columns,
    ...repeats,
    background: background ? 1 : 0,
    queued: queued ? 1 : 0,
    tenant: reach.tenant,
    itemsMade: input.length,
    state,
  });
  if (inserted.length === 0) throw await whyNotInserted(session, reach, turn);
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
  const { outcome, usage, backend, finishedAtMs } = finish;
  const message = outcome.state === 'failed' ? outcome.message : null;
  return { state: outcome.state, reason: reasonOf(outcome), message, backend, finishedAtMs, ...usageColumns(usage) };
}

interface UsageColumns {
  inputTokens: number;
  cachedInputTokens: number;
  outputTokens: number;
  reasoningTokens: number;
  usageEstimated: number;
}

function usageColumns({ estimated, ...counts }: Usage): UsageColumns {
  return { ...counts, usageEstimated: estimated ? 1 : 0 };
}

function reasonOf(outcome: TurnOutcome): string | null {
  switch (outcome.state) {
    case 'completed':
    case 'incomplete':
      return outcome.reason;
    case 'failed':
      return outcome.code;
    case 'cancelled':
      return null;
  }
}

type FlatTurn = Omit<TurnRow, 'usage' | 'background' | 'queued'> & { background: number; queued: number } & {
  [Name in keyof UsageColumns]: UsageColumns[Name] | null;
};

const selectTurn = contentQuery<{ id: Id<'turn'> }, FlatTurn>(({ db, arg, within }) =>
  db
    .selectFrom('turns')
    .select([
      'id',
      'subject',
      'conversation',
      'previous',
      'assistant',
      'environment',
      'release',
      'settings',
      'state',
      'reason',
      'message',
      'epoch',
      'background',
      'queued',
      'backend',
      'input_tokens as inputTokens',
      'cached_input_tokens as cachedInputTokens',
      'output_tokens as outputTokens',
      'reasoning_tokens as reasoningTokens',
      'usage_estimated as usageEstimated',
      'started_at_ms as startedAtMs',
      'finished_at_ms as finishedAtMs',
    ])
    .where(within('turns'))
    .where('id', '=', arg('id')),
);

export const turn = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<TurnRow | undefined> => {
  const [flat] = await selectTurn(session, reach, { id });
  if (flat === undefined) return undefined;
  const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens, usageEstimated, background, queued, ...rest } =
    flat;
  const usage =
    inputTokens === null
      ? null
      : {
          inputTokens,
          cachedInputTokens: cachedInputTokens ?? 0,
          outputTokens: outputTokens ?? 0,
          reasoningTokens: reasoningTokens ?? 0,
          estimated: usageEstimated === 1,
        };
  return { ...rest, background: background === 1, queued: queued === 1, usage };
};

const selectRunning = contentQuery<{ conversation: Id<'conversation'>; running: TurnState }, { id: Id<'turn'> }>(
  ({ db, arg, within }) =>
    db
      .selectFrom('turns')
      .select('id')
      .where(within('turns'))
      .where('conversation', '=', arg('conversation'))
      .where('state', '=', arg('running')),
);

export const runningTurn = async (
  session: Session,
  reach: Reach,
  conversation: Id<'conversation'>,
): Promise<Id<'turn'> | undefined> =>
  (await selectRunning(session, reach, { conversation, running: 'running' }))[0]?.id;

const itemColumns = ['id', 'subject', 'turn', 'position', 'content', 'created_at_ms as createdAtMs'] as const;

const selectTurnItems = contentQuery<{ id: Id<'turn'>; part: 'input' | 'output' }, ItemRow>(({ db, arg, within }) =>
  db
    .selectFrom('items')
    .select(itemColumns)
    .where(within('items'))
    .where('turn', '=', arg('id'))
    .where('part', '=', arg('part'))
    .orderBy('position', 'asc'),
);

export const turnItems = (
  session: Session,
  reach: Reach,
  ...[id, part]: Parameters<TenantStore['turnItems']>
): Promise<readonly ItemRow[]> => selectTurnItems(session, reach, { id, part });

/** At most `most` turns back too: a chain of turns without items must not be followed without end. */
const selectChain = contentQuery<{ id: Id<'turn'>; most: number }, ItemRow>(({ db, arg, within }) =>
  db
    .withRecursive('chain', (chain) =>
      chain
        .selectFrom('turns')
        .select(['turns.tenant', 'turns.id', 'turns.previous', sql<number>`1`.as('depth')])
        .where(within('turns'))
        .where('turns.id', '=', arg('id'))
        .unionAll(
          chain
            .selectFrom('turns')
            .innerJoin('chain', (join) =>
              join.onRef('turns.tenant', '=', 'chain.tenant').onRef('turns.id', '=', 'chain.previous'),
            )
            .select(['turns.tenant', 'turns.id', 'turns.previous', sql<number>`chain.depth + 1`.as('depth')])
            .where(within('turns'))
            .where('chain.depth', '<', arg('most')),
        ),
    )
    .selectFrom('chain')
    .innerJoin('items', (join) => join.onRef('items.tenant', '=', 'chain.tenant').onRef('items.turn', '=', 'chain.id'))
    .select([
      'items.id',
      'items.subject',
      'items.turn',
      'items.position',
      'items.content',
      'items.created_at_ms as createdAtMs',
    ])
    .where(within('items'))
    .orderBy('chain.depth', 'asc')
    .orderBy('items.position', 'desc')
    .limit(arg('most')),
);

export const chainItems = async (
  session: Session,
  reach: Reach,
  ...[id, mostItems]: Parameters<TenantStore['chainItems']>
): Promise<readonly ItemRow[]> => (await selectChain(session, reach, { id, most: mostItems })).toReversed();

const removeTurn = contentQuery<{ id: Id<'turn'> }, { id: string }>(({ db, arg, within }) =>
  db.deleteFrom('turns').where(within('turns')).where('id', '=', arg('id')).returning('id'),
);

/** Items and feedback go with it by their foreign keys. */
export const deleteTurn = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<boolean> =>
  (await removeTurn(session, reach, { id })).length > 0;

type FlatUnstored = Omit<UnstoredTurn, 'usage' | 'outcome'> &
  UsageColumns & { readonly state: TurnState; readonly reason: string | null };

const insertUnstored = insertQuery<FlatUnstored>((db, rows) =>
  db.insertInto('unstored_turns').values(
    rows.map((row) => ({
      tenant: row.tenant,
      id: row.id,
      subject: row.subject,
      assistant: row.assistant,
      environment: row.environment,
      release: row.release,
      state: row.state,
      reason: row.reason,
      backend: row.backend,
      input_tokens: row.inputTokens,
      cached_input_tokens: row.cachedInputTokens,
      output_tokens: row.outputTokens,
      reasoning_tokens: row.reasoningTokens,
      usage_estimated: row.usageEstimated,
      started_at_ms: row.startedAtMs,
      finished_at_ms: row.finishedAtMs,
    })),
  ),
);

export const recordUnstoredTurns = (session: Session, turns: readonly UnstoredTurn[]): Promise<void> =>
  insertUnstored(
    session,
    turns.map(({ usage, outcome, ...rest }) => ({
      ...rest,
      ...usageColumns(usage),
      state: outcome.state,
      reason: reasonOf(outcome),
    })),
  );
