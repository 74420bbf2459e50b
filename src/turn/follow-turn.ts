import { setTimeout as delay } from 'node:timers/promises';
import { UsherError, type ErrorCode, type Id } from '#base';
import { reachOf, type Principal } from '#access';
import { noUsage, type TurnEvent, type TurnOutcome } from '#conversation';
import type { QueuedTurn, TenantStore, TurnRow } from '#store';
import type { SubjectVault } from '#vault';
import type { Relay } from './answer.ts';
import { isBeyond } from './beyond.ts';
import { findTurn } from './find-turn.ts';
import type { LiveTurn } from './live-turns.ts';
import type { FinishedEvent } from './record.ts';
import { eventsPlace } from './turn-log.ts';
import type { TurnRooms } from './turn-rooms.ts';

/**
 * How often a turn that runs elsewhere, or waits, is looked at: the longer it was silent, the more
 * rarely. Thousands may wait for models that think, or for a person.
 */
const lookEveryMs = { least: 100, most: 1000, perSilentMs: 0.1 } as const;
/** A turn that runs here wakes its followers; this is for what could be missed. */
const lookAnywayMs = 1000;
/** How often, and for how long, another node is told that its turn has a listener here. */
const hearEveryMs = 5000;
const hearForMs = 15_000;
const batchesPerRead = 200;

type FollowRooms = Pick<TurnRooms, 'store' | 'vault' | 'live' | 'clock'>;

/**
 * Tells all events of a stored turn, from its first on: those in the store, then each as it becomes
 * durable, on whatever node the turn runs. Settles with its last, or rejects with `client_gone` when
 * `signal` aborts.
 *
 * @throws UsherError `not_found`
 */
export async function followTurn(
  rooms: FollowRooms,
  principal: Principal,
  id: Id<'turn'>,
  relay: Relay,
  signal: AbortSignal,
): Promise<FinishedEvent> {
  const store = rooms.store.reach(reachOf(principal));
  let after = 0;
  let isQueuedTold = false;
  let isStartedTold = false;
  let heardAtMs = -Infinity;
  let newAtMs = rooms.clock.monotonicMs();
  let live: LiveTurn | undefined;
  let leave: (() => void) | undefined;
  try {
    for (;;) {
      if (rooms.live.get(id) !== live) {
        leave?.();
        live = rooms.live.get(id);
        leave = live?.audience.join();
      }
      const changed = live?.changed;
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
        if (!isStartedTold) await relay({ type: 'started', turn: startedTurn(turn) });
        isStartedTold = true;
        const told = after;
        after = await tellStored(store, vault, turn, told, relay);
        if (after > told) newAtMs = rooms.clock.monotonicMs();
        if (turn.state !== 'running') return await tellEnd(turn, relay);
        if (live === undefined && rooms.clock.monotonicMs() - heardAtMs > hearEveryMs) {
          heardAtMs = rooms.clock.monotonicMs();
          await store.hearTurn(id, hearForMs);
        }
      }
      if (signal.aborted) throw new UsherError('client_gone', 'The listener left.');
      await pause(changed, rooms.clock.monotonicMs() - newAtMs, signal);
    }
  } finally {
    leave?.();
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

function outcomeOf({ state, reason, message }: TurnRow): TurnOutcome {
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

async function pause(changed: Promise<void> | undefined, silentMs: number, signal: AbortSignal): Promise<void> {
  const { least, most, perSilentMs } = lookEveryMs;
  const lookMs = Math.min(Math.max(silentMs * perSilentMs, least), most);
  const ended = new AbortController();
  const timer = delay(changed === undefined ? lookMs : lookAnywayMs, undefined, {
    signal: AbortSignal.any([signal, ended.signal]),
  }).catch(() => undefined);
  await Promise.race([timer, ...(changed === undefined ? [] : [changed])]);
  ended.abort();
}

function noTurn(): UsherError {
  return new UsherError('not_found', 'There is no such response.');
}
