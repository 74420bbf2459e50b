import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { TurnOutcome, TurnState, Usage } from '#conversation';
import type { ReleaseDigest } from '#release';
import { contentQuery, insertQuery, systemQuery, Undo, type Session } from '../query.ts';
import type { BeginTurn, ItemRow, NewTurn, TenantStore, TurnRow, UnstoredTurn } from '../store.ts';
import { insertItems } from './items.ts';
import { demandOwn } from './own.ts';

/*
 * On PostgreSQL every write takes the conversation's row before the turn's, so that two writers of
 * one conversation queue and never wait for each other in a circle.
 */

const takeConversation = contentQuery<
  { id: Id<'conversation'>; count: number; assistant: string; release: ReleaseDigest; nowMs: number },
  { itemsMade: number }
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
    .returning('items_made as itemsMade'),
);

const selectTurnId = contentQuery<{ id: Id<'turn'> }, { id: Id<'turn'> }>(({ db, arg, within }) =>
  db.selectFrom('turns').select('id').where(within('turns')).where('id', '=', arg('id')),
);

const insertTurn = systemQuery<NewTurn & { tenant: TenantId; itemsMade: number; state: TurnState }, { id: string }>(
  ({ db, arg, nowMs }) =>
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
      })
      .onConflict((conflict) =>
        conflict
          .columns(['tenant', 'conversation'])
          .where(sql<boolean>`state = 'running' and conversation is not null`)
          .doNothing(),
      )
      .returning('id'),
);

export const beginTurn = async (
  session: Session,
  reach: Reach,
  ...[turn, input]: Parameters<TenantStore['beginTurn']>
): Promise<BeginTurn> => {
  demandOwn(reach, turn.subject);
  let firstPosition = 1;
  if (turn.conversation !== null) {
    const [taken] = await takeConversation(session, reach, {
      id: turn.conversation,
      count: input.length,
      assistant: turn.assistant,
      release: turn.release,
      nowMs: turn.startedAtMs,
    });
    if (taken === undefined) return 'conversation_missing';
    firstPosition = taken.itemsMade - input.length + 1;
  }
  if (turn.previous !== null && (await selectTurnId(session, reach, { id: turn.previous })).length === 0) {
    throw new Undo('previous_missing' satisfies BeginTurn);
  }
  const inserted = await insertTurn(session, {
    ...turn,
    tenant: reach.tenant,
    itemsMade: input.length,
    state: 'running',
  });
  if (inserted.length === 0) throw new Undo('locked' satisfies BeginTurn);
  await insertItems(session, input, {
    tenant: reach.tenant,
    subject: turn.subject,
    conversation: turn.conversation,
    turn: turn.id,
    part: 'input',
    firstPosition,
    createdAtMs: turn.startedAtMs,
  });
  return 'begun';
};

const takeConversationOfTurn = contentQuery<
  { id: Id<'turn'>; running: TurnState; count: number; nowMs: number },
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
          .$castTo<{ tenant: TenantId; conversation: Id<'conversation'> }>()
          .$asTuple('tenant', 'conversation'),
      ),
    )
    .returning('items_made as itemsMade'),
);

interface FinishArgs extends UsageColumns {
  id: Id<'turn'>;
  running: TurnState;
  state: TurnState;
  reason: string | null;
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
    .returning(['subject', 'conversation', 'items_made as itemsMade']),
);

export const finishTurn = async (
  session: Session,
  reach: Reach,
  ...[id, finish, output]: Parameters<TenantStore['finishTurn']>
): Promise<boolean> => {
  const count = output.length;
  const running = 'running';
  const [taken] = await takeConversationOfTurn(session, reach, { id, running, count, nowMs: finish.finishedAtMs });
  const [turn] = await finishRunning(session, reach, {
    id,
    running,
    count,
    state: finish.outcome.state,
    reason: reasonOf(finish.outcome),
    backend: finish.backend,
    finishedAtMs: finish.finishedAtMs,
    ...usageColumns(finish.usage),
  });
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
  return true;
};

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

type FlatTurn = Omit<TurnRow, 'usage'> & { [Name in keyof UsageColumns]: UsageColumns[Name] | null };

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
  const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens, usageEstimated, ...rest } = flat;
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
  return { ...rest, usage };
};

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

const renewRunning = systemQuery<{ running: TurnState; owner: Id<'node'>; leaseMs: number }, { id: Id<'turn'> }>(
  ({ db, arg, nowMs }) =>
    db
      .updateTable('turns')
      .set({ lease_until_ms: sql`${nowMs} + ${arg('leaseMs')}` })
      .where('state', '=', arg('running'))
      .where('owner', '=', arg('owner'))
      .returning('id'),
);

export const renewTurns = async (
  session: Session,
  owner: Id<'node'>,
  leaseMs: number,
): Promise<readonly Id<'turn'>[]> =>
  (await renewRunning(session, { running: 'running', owner, leaseMs })).map(({ id }) => id);

const failLost = systemQuery<
  { running: TurnState; failed: TurnState; reason: string; every: number },
  { id: Id<'turn'> }
>(({ db, arg, nowMs }) =>
  db
    .updateTable('turns')
    .set({ state: arg('failed'), reason: arg('reason'), finished_at_ms: nowMs })
    .where('state', '=', arg('running'))
    .where((eb) => eb.or([eb('lease_until_ms', '<', nowMs), sql<boolean>`1 = ${arg('every')}`]))
    .returning('id'),
);

export const failLostTurns = async (session: Session, which: 'lease_over' | 'every'): Promise<number> => {
  const every = which === 'every' ? 1 : 0;
  return (await failLost(session, { running: 'running', failed: 'failed', reason: 'interrupted', every })).length;
};
