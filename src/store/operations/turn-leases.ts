import { sql, type RawBuilder, type SqlBool } from 'kysely';
import type { Id } from '#base';
import type { TenantId } from '#access';
import type { TurnState } from '#conversation';
import { contentQuery, databaseNowMs, rowsQuery, systemQuery, type Session } from '../query.ts';
import type { Reach } from '#access';
import type { ClaimedTurn, HeldTurn, TurnKey } from '../store.ts';

export interface HeldRow {
  turn: Id<'turn'>;
  epoch: number;
  cancelAsked: number;
  isHeard: number;
}

/** The columns of a `HeldRow`. */
export function heldColumns(nowMs: RawBuilder<number>) {
  return [
    sql.ref<Id<'turn'>>('id').as('turn'),
    sql.ref<number>('epoch').as('epoch'),
    sql.ref<number>('cancel_asked').as('cancelAsked'),
    sql<number>`case when heard_until_ms > ${nowMs} then 1 else 0 end`.as('isHeard'),
  ] as const;
}

export function heldTurns(rows: readonly HeldRow[]): readonly HeldTurn[] {
  return rows.map(({ turn, epoch, cancelAsked, isHeard }) => ({
    turn,
    epoch,
    cancelAsked: cancelAsked === 1,
    isHeard: isHeard === 1,
  }));
}

/*
 * Where several rows of turns are locked at once it is in order of their ids, here and where events
 * are appended: two such writers queue, and never wait for each other in a circle.
 */
const renewRunning = systemQuery<{ running: TurnState; owner: Id<'node'>; leaseMs: number }, HeldRow>(
  ({ db, arg, nowMs, dialect }) => {
    const held = db
      .selectFrom('turns as held')
      .select(['held.tenant', 'held.id'])
      .where('held.state', '=', arg('running'))
      .where('held.owner', '=', arg('owner'))
      .orderBy('held.tenant')
      .orderBy('held.id');
    return db
      .updateTable('turns')
      .set({ lease_until_ms: sql`${nowMs} + ${arg('leaseMs')}` })
      .where((eb) =>
        eb(
          eb.refTuple('tenant', 'id'),
          'in',
          (dialect === 'postgres' ? held.forUpdate() : held).$asTuple('tenant', 'id'),
        ),
      )
      .where('state', '=', arg('running'))
      .where('owner', '=', arg('owner'))
      .returning(heldColumns(nowMs));
  },
);

export const renewTurns = async (session: Session, owner: Id<'node'>, leaseMs: number): Promise<readonly HeldTurn[]> =>
  heldTurns(await renewRunning(session, { running: 'running', owner, leaseMs }));

/** Another that claims at the same time waits for the row, and then finds its lease no longer over. */
const claimLost = systemQuery<
  { running: TurnState; owner: Id<'node'>; leaseMs: number; most: number; overMs: number },
  { tenant: TenantId; turn: Id<'turn'>; epoch: number; attempts: number }
>(({ db, arg, nowMs, dialect }) => {
  const lost = db
    .selectFrom('turns as lost')
    .select(['lost.tenant', 'lost.id'])
    .where('lost.state', '=', arg('running'))
    .where('lost.lease_until_ms', '<', sql<number>`${nowMs} - ${arg('overMs')}`)
    .orderBy('lost.lease_until_ms')
    .limit(arg('most'));
  return db
    .updateTable('turns')
    .set({
      owner: arg('owner'),
      epoch: sql`epoch + 1`,
      attempts: sql`attempts + 1`,
      lease_until_ms: sql`${nowMs} + ${arg('leaseMs')}`,
    })
    .where((eb) =>
      eb(
        eb.refTuple('tenant', 'id'),
        'in',
        (dialect === 'postgres' ? lost.forUpdate().skipLocked() : lost).$asTuple('tenant', 'id'),
      ),
    )
    .where('state', '=', arg('running'))
    .where('lease_until_ms', '<', nowMs)
    .returning(['tenant', 'id as turn', 'epoch', 'attempts']);
});

export const claimTurns = (
  session: Session,
  owner: Id<'node'>,
  leaseMs: number,
  most: number,
  overMs: number,
): Promise<readonly ClaimedTurn[]> => claimLost(session, { running: 'running', owner, leaseMs, most, overMs });

const endOne = systemQuery<{ running: TurnState; owner: Id<'node'>; turn: Id<'turn'>; epoch: number }, never>(
  ({ db, arg }) =>
    db
      .updateTable('turns')
      .set({ lease_until_ms: sql`0` })
      .where('state', '=', arg('running'))
      .where('owner', '=', arg('owner'))
      .where('id', '=', arg('turn'))
      .where('epoch', '=', arg('epoch')),
);

export const endLease = async (session: Session, owner: Id<'node'>, turn: Id<'turn'>, epoch: number): Promise<void> =>
  void (await endOne(session, { running: 'running', owner, turn, epoch }));

const endLeases = systemQuery<{ running: TurnState; of: string }, never>(({ db, arg }) =>
  db
    .updateTable('turns')
    // Whoever leaves on purpose has not failed at it.
    .set({
      lease_until_ms: sql`0`,
      attempts: sql`case when ${arg('of')} = 'every' then attempts else attempts - 1 end`,
    })
    .where('state', '=', arg('running'))
    .where(sql<SqlBool>`${arg('of')} in ('every', owner)`),
);

export const expireLeases = async (session: Session, of: Id<'node'> | 'every'): Promise<void> =>
  void (await endLeases(session, { running: 'running', of }));

const extendHearing = rowsQuery<TurnKey & { forMs: number }, never>((db, rows, dialect) => {
  const heard = db
    .selectFrom('turns as heard')
    .select(['heard.tenant', 'heard.id'])
    .where((eb) =>
      eb.or(rows.map(({ tenant, turn }) => eb.and([eb('heard.tenant', '=', tenant), eb('heard.id', '=', turn)]))),
    )
    .orderBy('heard.tenant')
    .orderBy('heard.id');
  return db
    .updateTable('turns')
    .set({ heard_until_ms: sql`${databaseNowMs[dialect]} + ${rows[0]!.forMs}` })
    .where((eb) =>
      eb(
        eb.refTuple('tenant', 'id'),
        'in',
        (dialect === 'postgres' ? heard.forUpdate() : heard).$asTuple('tenant', 'id'),
      ),
    );
});

export const hearTurns = async (session: Session, turns: readonly TurnKey[], forMs: number): Promise<void> =>
  void (await extendHearing(
    session,
    turns.map(({ tenant, turn }) => ({ tenant, turn, forMs })),
  ));

const markCancel = contentQuery<{ id: Id<'turn'>; running: TurnState }, { id: string }>(({ db, arg, within }) =>
  db
    .updateTable('turns')
    .set({ cancel_asked: sql`1` })
    .where(within('turns'))
    .where('id', '=', arg('id'))
    .where('state', '=', arg('running'))
    .returning('id'),
);

export const askCancel = async (session: Session, reach: Reach, id: Id<'turn'>): Promise<boolean> =>
  (await markCancel(session, reach, { id, running: 'running' })).length > 0;
