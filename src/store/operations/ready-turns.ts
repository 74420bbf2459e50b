import { sql, type RawBuilder, type SqlBool } from 'kysely';
import type { Id } from '#base';
import type { TenantId } from '#access';
import type { TurnState } from '#conversation';
import { replannedQuery, systemQuery, type Dialect, type Session } from '../query.ts';
import type { QueueLane, ReadyRequest, ReadyTurn } from '../store.ts';

interface FlatReady {
  readonly tenant: TenantId;
  readonly turn: Id<'turn'>;
  readonly background: number;
}

const selectLate = systemQuery<{ most: number; waitedMs: number }, FlatReady>(({ db, arg, nowMs }) =>
  db
    .selectFrom('queued_turns')
    .select(['tenant', 'id as turn', 'background'])
    .where('deadline_ms', '<', nowMs)
    .where('queued_at_ms', '<=', sql<number>`${nowMs} - ${arg('waitedMs')}`)
    .orderBy('deadline_ms')
    .limit(arg('most')),
);

/*
 * From one turn of a lane to the next that could begin, over the index of lanes: it costs what it answers
 * and what it steps over, which waits in conversations that are busy; and both databases can do it. Ids of turns sort
 * by age. The plan that PostgreSQL makes while nothing waits
 * reads the whole queue for each turn once thousands do.
 */
const selectReady = replannedQuery<
  { most: number; perLane: number; running: TurnState; waitedMs: number; full: string },
  FlatReady
>(({ db, arg, nowMs, dialect }) => {
  const nextOf = (at: string, after: RawBuilder<SqlBool>): RawBuilder<Id<'turn'> | null> => sql`(
    select waiting.id from queued_turns as waiting
    where waiting.tenant = ${sql.ref(`${at}.tenant`)} and waiting.background = ${sql.ref(`${at}.background`)}
      and ${after} and waiting.queued_at_ms <= ${nowMs} - ${arg('waitedMs')}
      and not exists (
        select 1 from turns where turns.tenant = waiting.tenant and turns.conversation = waiting.conversation
          and turns.state = ${arg('running')})
      and not exists (
        select 1 from queued_turns as earlier
        where earlier.tenant = waiting.tenant and earlier.conversation = waiting.conversation
          and (earlier.queued_at_ms, earlier.id) < (waiting.queued_at_ms, waiting.id))
    order by waiting.id limit 1)`;
  return db
    .withRecursive('tenants', (tenants) =>
      tenants.selectNoFrom(sql<TenantId | null>`(select min(tenant) from queued_turns)`.as('tenant')).unionAll(
        tenants
          .selectFrom('tenants')
          .select(
            sql<TenantId | null>`(select min(tenant) from queued_turns where tenant > tenants.tenant)`.as('tenant'),
          )
          .where('tenants.tenant', 'is not', null),
      ),
    )
    .with('lanes', (lanes) =>
      lanes
        .selectFrom('tenants')
        .innerJoin(sql<{ background: number }>`(select 0 as background union all select 1)`.as('kinds'), (join) =>
          join.onTrue(),
        )
        .select(['tenants.tenant', 'kinds.background'])
        .where(sql<SqlBool>`tenants.tenant is not null`)
        .where(sql<SqlBool>`cast(kinds.background as text) || tenants.tenant not in (${listed(dialect, arg('full'))})`),
    )
    .withRecursive('ready', (ready) =>
      ready
        .selectFrom('lanes')
        .select(['lanes.tenant', 'lanes.background', sql<number>`1`.as('place')])
        .select(nextOf('lanes', sql`1 = 1`).as('turn'))
        .unionAll(
          ready
            .selectFrom('ready')
            .select(['ready.tenant', 'ready.background', sql<number>`ready.place + 1`.as('place')])
            .select(nextOf('ready', sql`waiting.id > ready.turn`).as('turn'))
            .where('ready.turn', 'is not', null)
            .where('ready.place', '<', arg('perLane')),
        ),
    )
    .selectFrom('ready')
    .select(['ready.tenant', 'ready.turn', 'ready.background'])
    .where('ready.turn', 'is not', null)
    .orderBy('ready.place')
    .orderBy('ready.turn')
    .limit(arg('most'))
    .$castTo<FlatReady>();
});

/** The texts of a JSON array. */
function listed(dialect: Dialect, json: string): RawBuilder<string> {
  return dialect === 'postgres'
    ? sql`select json_array_elements_text(cast(${json} as json))`
    : sql`select value from json_each(${json})`;
}

const nameOf = ({ tenant, background }: QueueLane): string => `${background ? 1 : 0}${tenant}`;

export const readyTurns = async (
  session: Session,
  { most, perLane, waitedMs, full }: ReadyRequest,
): Promise<readonly ReadyTurn[]> => {
  // No more than half: one that cannot be ended here, since a key is missing, is found late again and again.
  const late = await selectLate(session, { most: Math.ceil(most / 2), waitedMs });
  const lanes = JSON.stringify(full.map(nameOf));
  const ready = await selectReady(session, { most, perLane, running: 'running', waitedMs, full: lanes });
  const known = new Set(late.map(({ turn }) => turn));
  return [...late, ...ready.filter(({ turn }) => !known.has(turn))].slice(0, most).map((row) => ({
    tenant: row.tenant,
    turn: row.turn,
    background: row.background === 1,
    isLate: known.has(row.turn),
  }));
};
