import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach } from '#access';
import type { TurnState } from '#conversation';
import { contentQuery, type Session } from '../query.ts';
import { pageBytesMax, type ItemRow, type TenantStore, type TurnRow } from '../store.ts';
import { bytesBefore } from './items.ts';
import type { UsageColumns } from './turn-columns.ts';

const turnColumns = [
  'id',
  'subject',
  'conversation',
  'previous',
  'assistant',
  'environment',
  'release',
  'settings',
  'user_authorisation as userAuthorisation',
  'state',
  'reason',
  'message',
  'epoch',
  'background',
  'completion',
  'queued',
  'backend',
  'input_tokens as inputTokens',
  'cached_input_tokens as cachedInputTokens',
  'output_tokens as outputTokens',
  'reasoning_tokens as reasoningTokens',
  'usage_estimated as usageEstimated',
  'started_at_ms as startedAtMs',
  'finished_at_ms as finishedAtMs',
] as const;

type FlatTurn = Omit<TurnRow, 'usage' | 'background' | 'completion' | 'queued'> & {
  background: number;
  completion: number;
  queued: number;
} & {
  [Name in keyof UsageColumns]: UsageColumns[Name] | null;
};

const selectTurn = contentQuery<{ id: Id<'turn'> }, FlatTurn>(({ db, arg, within }) =>
  db.selectFrom('turns').select(turnColumns).where(within('turns')).where('id', '=', arg('id')),
);

export const turn = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<TurnRow | undefined> => {
  const [flat] = await selectTurn(session, reach, { id });
  return flat && turnOf(flat);
};

function turnOf(flat: FlatTurn): TurnRow {
  const { inputTokens, cachedInputTokens, outputTokens, reasoningTokens, usageEstimated, ...others } = flat;
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
  const { background, completion, queued, ...rest } = others;
  return { ...rest, completion: completion === 1, background: background === 1, queued: queued === 1, usage };
}

interface CompletionsArgs {
  completed: TurnState;
  incomplete: TurnState;
  limit: number;
}

const selectCompletions = (order: 'asc' | 'desc') =>
  contentQuery<CompletionsArgs & { after: Id<'turn'> }, FlatTurn>(({ db, arg, within }) =>
    db
      .selectFrom('turns')
      .select(turnColumns)
      .where(within('turns'))
      .where('completion', '=', sql<number>`1`)
      .where((eb) => eb.or([eb('state', '=', arg('completed')), eb('state', '=', arg('incomplete'))]))
      .where('id', order === 'asc' ? '>' : '<', arg('after'))
      .orderBy('id', order)
      .limit(arg('limit')),
  );

const selectOldest = selectCompletions('asc');
const selectNewest = selectCompletions('desc');

/** Ids sort by age; before and after all of them. */
const first = 'turn_' as Id<'turn'>;
const last = 'turn_~' as Id<'turn'>;

export const completions = async (
  session: Session,
  reach: Reach,
  ...[{ limit, order, after }]: Parameters<TenantStore['completions']>
): Promise<readonly TurnRow[]> => {
  const ended = { completed: 'completed', incomplete: 'incomplete', limit } as const;
  const flat =
    order === 'oldest-first'
      ? await selectOldest(session, reach, { ...ended, after: after ?? first })
      : await selectNewest(session, reach, { ...ended, after: after ?? last });
  return flat.map(turnOf);
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

/**
 * At most `most` turns back too: a chain of turns without items must not be followed without end. The cross
 * joins are read as they stand: in another order SQLite would read all items of the tenant.
 */
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
    .with('page', (page) =>
      page
        .selectFrom('chain')
        .crossJoin('items')
        .whereRef('items.tenant', '=', 'chain.tenant')
        .whereRef('items.turn', '=', 'chain.id')
        .select(['items.id', 'chain.depth', 'items.position', sql<number>`length(items.content)`.as('bytes')])
        .where(within('items'))
        .orderBy('chain.depth', 'asc')
        .orderBy('items.position', 'desc')
        .limit(arg('most')),
    )
    .with('sized', (sized) =>
      sized
        .selectFrom('page')
        .select([
          'page.id',
          'page.depth',
          'page.position',
          bytesBefore(sql`page.depth asc, page.position desc`).as('before'),
        ]),
    )
    .selectFrom('sized')
    .crossJoin('items')
    .whereRef('items.id', '=', 'sized.id')
    .select([
      'items.id',
      'items.subject',
      'items.turn',
      'items.position',
      'items.content',
      'items.created_at_ms as createdAtMs',
    ])
    .where(within('items'))
    .where('sized.before', '<', sql.lit(pageBytesMax))
    .orderBy('sized.depth', 'asc')
    .orderBy('sized.position', 'desc'),
);

export const chainItems = async (
  session: Session,
  reach: Reach,
  ...[id, mostItems]: Parameters<TenantStore['chainItems']>
): Promise<readonly ItemRow[]> => (await selectChain(session, reach, { id, most: mostItems })).toReversed();
