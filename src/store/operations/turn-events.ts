import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { TurnState } from '#conversation';
import type { Sealed } from '#vault';
import { contentQuery, databaseNowMs, insertQuery, rowsQuery, systemQuery, type Session } from '../query.ts';
import type { EventBatch, EventsRow, HeldTurn, TurnKey, TurnProgress } from '../store.ts';
import { heldColumns, heldTurns, type HeldRow } from './turn-leases.ts';

/** Holds the rows, so that no other claims one of them before these events are committed. */
const lockHeld = rowsQuery<{ tenant: TenantId; turn: Id<'turn'>; epoch: number; running: TurnState }, HeldRow>(
  (db, rows, dialect) => {
    const held = db
      .selectFrom('turns')
      .select(heldColumns(databaseNowMs[dialect]))
      .where((eb) =>
        eb.or(
          rows.map(({ tenant, turn, epoch, running }) =>
            eb.and([
              eb('tenant', '=', tenant),
              eb('id', '=', turn),
              eb('epoch', '=', epoch),
              eb('state', '=', running),
            ]),
          ),
        ),
      )
      .orderBy('tenant')
      .orderBy('id');
    return dialect === 'postgres' ? held.forShare() : held;
  },
);

/** A batch that is sent again, since nobody said whether it came, is there once. */
const insertEvents = insertQuery<EventBatch>((db, rows) =>
  db
    .insertInto('turn_events')
    .onConflict((conflict) => conflict.doNothing())
    .values(
      rows.map((row) => ({
        tenant: row.tenant,
        subject: row.subject,
        turn: row.turn,
        epoch: row.epoch,
        first_seq: row.firstSeq,
        last_seq: row.lastSeq,
        content: row.content,
        created_at_ms: row.createdAtMs,
      })),
    ),
);

export const appendEvents = async (session: Session, batches: readonly EventBatch[]): Promise<readonly HeldTurn[]> => {
  const ordered = batches.toSorted((one, other) => compare(one.tenant, other.tenant) || compare(one.turn, other.turn));
  const held = heldTurns(
    await lockHeld(
      session,
      ordered.map(({ tenant, turn, epoch }) => ({ tenant, turn, epoch, running: 'running' as const })),
    ),
  );
  // By turn and epoch: a node that took its own turn over may send batches of both at once.
  const writable = new Set(held.map(({ turn, epoch }) => `${turn}/${epoch}`));
  await insertEvents(
    session,
    ordered.filter(({ turn, epoch }) => writable.has(`${turn}/${epoch}`)),
  );
  return held;
};

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** The last events of a turn that ends, in the transaction that ends it. */
export const insertLastEvents = (session: Session, batch: EventBatch): Promise<void> => insertEvents(session, [batch]);

const selectEvents = contentQuery<
  { id: Id<'turn'>; after: number; most: number },
  { epoch: number; firstSeq: number; lastSeq: number; subject: SubjectId; content: Sealed }
>(({ db, arg, within }) =>
  db
    .selectFrom('turn_events')
    .select(['epoch', 'first_seq as firstSeq', 'last_seq as lastSeq', 'subject', 'content'])
    .where(within('turn_events'))
    .where('turn', '=', arg('id'))
    .where('last_seq', '>', arg('after'))
    .orderBy('first_seq')
    .limit(arg('most')),
);

export const turnEvents = (
  session: Session,
  reach: Reach,
  id: Id<'turn'>,
  after: number,
  most: number,
): Promise<readonly EventsRow[]> => selectEvents(session, reach, { id, after, most });

const selectProgress = rowsQuery<TurnKey, TurnProgress>((db, rows) =>
  db
    .selectFrom('turns')
    .select((eb) => [
      'tenant',
      'id as turn',
      'state',
      'epoch',
      // The newest row by the primary key, not the largest of all: an answer has hundreds.
      eb
        .selectFrom('turn_events as event')
        .select('event.last_seq')
        .whereRef('event.tenant', '=', 'turns.tenant')
        .whereRef('event.turn', '=', 'turns.id')
        .orderBy('event.epoch', 'desc')
        .orderBy('event.first_seq', 'desc')
        .limit(sql<number>`1`)
        .as('lastSeq'),
    ])
    .where((eb) => eb.or(rows.map(({ tenant, turn }) => eb.and([eb('tenant', '=', tenant), eb('id', '=', turn)])))),
);

export const turnProgress = (session: Session, turns: readonly TurnKey[]): Promise<readonly TurnProgress[]> =>
  selectProgress(session, turns);

const deleteOld = systemQuery<{ before: number; most: number }, { turn: Id<'turn'> }>(({ db, arg }) =>
  db
    .deleteFrom('turn_events')
    .where((eb) =>
      eb(
        eb.refTuple('tenant', 'turn', 'epoch', 'first_seq'),
        'in',
        eb
          .selectFrom('turn_events as old')
          .innerJoin('turns', (join) =>
            join.onRef('turns.tenant', '=', 'old.tenant').onRef('turns.id', '=', 'old.turn'),
          )
          .select(['old.tenant', 'old.turn', 'old.epoch', 'old.first_seq'])
          .where('old.created_at_ms', '<', arg('before'))
          .where('turns.finished_at_ms', '<', arg('before'))
          .orderBy('old.created_at_ms')
          .limit(arg('most'))
          .$asTuple('tenant', 'turn', 'epoch', 'first_seq'),
      ),
    )
    .returning('turn'),
);

export const deleteEvents = async (session: Session, beforeMs: number, most: number): Promise<number> =>
  (await deleteOld(session, { before: beforeMs, most })).length;
