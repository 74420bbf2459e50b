import { UsherError, type ErrorCode, type Id } from '#base';
import { reachOf, type Principal } from '#access';
import { noUsage, retell, type TurnEvent, type TurnOutcome } from '#conversation';
import type { QueuedTurn, TenantStore, TurnRow } from '#store';
import type { SubjectVault } from '#vault';
import type { Relay } from '../answer/answer.ts';
import { isBeyond } from '../archive/beyond.ts';
import { Bell } from './bell.ts';
import { findTurn } from './find-turn.ts';
import type { LiveTurn } from './live-turns.ts';
import type { FinishedEvent } from '../record.ts';
import { openItem } from '../seal-items.ts';
import { relayTo } from '../archive/shown-to.ts';
import { eventsPlace } from './turn-log.ts';
import type { TurnRooms } from '../turn-rooms.ts';

/**
 * Followers are woken when there is more; this is for what could be missed. Thousands may wait for
 * models that think, or for a person.
 */
const lookAnywayMs = { here: 1000, elsewhere: 10_000 } as const;
const batchesPerRead = 200;

type FollowRooms = Pick<TurnRooms, 'store' | 'vault' | 'live' | 'watch'>;

/** Who listens to a stored turn. */
export interface Follower {
  readonly principal: Principal;
  readonly relay: Relay;
  /** Its leaving. */
  readonly signal: AbortSignal;
  /** It knows the first events already, by their numbers. */
  readonly isResumed?: boolean;
}

/**
 * Tells all events of a stored turn, from its first on: those in the store, then each as it becomes
 * durable, on whatever node the turn runs. Where they are not kept any more, its answer is told anew
 * of its items. Settles with its last, or rejects with `client_gone` when the follower leaves.
 *
 * @throws UsherError `not_found`; `invalid_request` for one that resumes where no events are kept
 */
export async function followTurn(rooms: FollowRooms, id: Id<'turn'>, follower: Follower): Promise<FinishedEvent> {
  const { principal, signal, isResumed = false } = follower;
  const relay = relayTo(principal, follower.relay);
  const store = rooms.store.reach(reachOf(principal));
  const bell = new Bell();
  let after = 0;
  let isQueuedTold = false;
  let isStartedTold = false;
  let live: LiveTurn | undefined;
  let leave: (() => void) | undefined;
  const watched = rooms.watch.watch(principal.tenant, id);
  try {
    for (;;) {
      if (rooms.live.get(id) !== live) {
        leave?.();
        live = rooms.live.get(id);
        leave = live?.audience.join();
      }
      const changed = live?.changed ?? watched.changed;
      const found = await findTurn(store, id);
      const turn = found?.turn;
      const row = turn ?? found?.queued;
      if (row === undefined || isBeyond(principal, row)) throw noTurn();
      const vault = await rooms.vault.subject(principal.tenant, row.subject);
      if (!isQueuedTold && (turn === undefined || turn.queued)) {
        isQueuedTold = true;
        await relay({ type: 'queued', turn: startedTurn(row) });
      }
      if (turn !== undefined) {
        const isOver = turn.state !== 'running';
        const unkept = after > 0 || !isOver ? [] : await toldUnkept(store, vault, turn);
        if (unkept.length > 0 && isResumed) throw noEvents();
        if (!isStartedTold) await relay({ type: 'started', turn: startedTurn(turn) });
        isStartedTold = true;
        if (unkept.length === 0) after = await tellStored(store, vault, turn, after, relay);
        for (const event of unkept) await relay(event);
        if (isOver) {
          if (after > 0 && !(await areKept(store, id))) throw eventsGone();
          const finished = await tellEnd(turn, relay);
          // Of who heard it here its node knew when it ended.
          if (live === undefined && !turn.background && !signal.aborted) await endHeard(store, id);
          return finished;
        }
      }
      if (signal.aborted) throw new UsherError('client_gone', 'The listener left.');
      await bell.wait(changed, live === undefined ? lookAnywayMs.elsewhere : lookAnywayMs.here, signal);
    }
  } finally {
    leave?.();
    watched.stop();
  }
}

async function tellStored(
  store: TenantStore,
  vault: SubjectVault,
  { id }: TurnRow,
  from: number,
  relay: Relay,
): Promise<number> {
  let after = from;
  for (;;) {
    const batches = await store.turnEvents(id, after, batchesPerRead);
    for (const { epoch, firstSeq, lastSeq, content } of batches) {
      const events = JSON.parse(vault.openText(eventsPlace(id, epoch, firstSeq), content)) as readonly TurnEvent[];
      for (const event of events) await relay(event);
      after = lastSeq;
    }
    if (batches.length < batchesPerRead) return after;
  }
}

/** What its items tell, where its events are not in the store, or not from the first on. */
async function toldUnkept(store: TenantStore, vault: SubjectVault, { id }: TurnRow): Promise<readonly TurnEvent[]> {
  if (await areKept(store, id)) return [];
  return retell((await store.turnItems(id, 'output')).map((item) => openItem(vault, item)));
}

async function areKept(store: TenantStore, id: Id<'turn'>): Promise<boolean> {
  return (await store.turnEvents(id, 0, 1))[0]?.firstSeq === 1;
}

/** Where that cannot be written now, the answer is told once more to whoever says the same as a repeat. */
async function endHeard(store: TenantStore, id: Id<'turn'>): Promise<void> {
  try {
    await store.endHeard(id);
  } catch (error) {
    if (!(error instanceof UsherError)) throw error;
  }
}

async function tellEnd(turn: TurnRow, relay: Relay): Promise<FinishedEvent> {
  const finished: FinishedEvent = {
    type: 'finished',
    outcome: outcomeOf(turn),
    usage: turn.usage ?? noUsage,
    finishedAtMs: turn.finishedAtMs ?? turn.startedAtMs,
  };
  await relay(finished);
  return finished;
}

export function outcomeOf({ state, reason, message }: TurnRow): TurnOutcome {
  switch (state) {
    case 'running':
      throw new UsherError('internal', 'A running turn has no outcome.');
    case 'completed':
      return { state, reason: reason === 'call' ? 'call' : 'stop' };
    case 'incomplete':
      return { state, reason: reason === 'filtered' ? 'filtered' : 'length' };
    case 'cancelled':
      return { state };
    case 'failed':
      return { state, code: (reason ?? 'internal') as ErrorCode, message: message ?? 'The answer failed.' };
  }
}

function startedTurn(row: TurnRow | QueuedTurn): Extract<TurnEvent, { type: 'started' }>['turn'] {
  const { id, assistant, environment, release } = row;
  return { id, assistant, environment, release, startedAtMs: 'startedAtMs' in row ? row.startedAtMs : row.queuedAtMs };
}

function noEvents(): UsherError {
  return new UsherError(
    'invalid_request',
    'The events of this response are not kept any more. Leave "starting_after" out to have its answer told from the beginning.',
    { param: 'starting_after' },
  );
}

/** What came of them is not all, and an end would pass it for whole. */
function eventsGone(): UsherError {
  return new UsherError(
    'interrupted',
    'The events of this response were deleted while it was told. Ask for the response again.',
  );
}

function noTurn(): UsherError {
  return new UsherError('not_found', 'There is no such response.');
}
