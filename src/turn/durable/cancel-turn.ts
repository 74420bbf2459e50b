import { setTimeout as delay } from 'node:timers/promises';
import { UsherError, type Id } from '#base';
import { reachOf, type Principal, type TenantId } from '#access';
import { noUsage } from '#conversation';
import type { NewItem, QueuedTurn } from '#store';
import { openInput } from './asked-turn.ts';
import { isBeyond } from '../archive/beyond.ts';
import { findTurn } from './find-turn.ts';
import { followTurn } from './follow-turn.ts';
import { noRepeats } from './repeats.ts';
import { sealItem } from '../seal-items.ts';
import { turnLeaseMs } from './turn-leases.ts';
import type { TurnRooms } from '../turn-rooms.ts';

type CancelRooms = Pick<TurnRooms, 'store' | 'vault' | 'live' | 'watch' | 'clock' | 'leases'>;

/** A node that runs the turn hears of it within a renewal; one that is lost is first taken over. */
const waitMs = 20_000;

/**
 * Stops a turn wherever it runs, or takes it out of the queue, and waits until it is recorded. What
 * has ended already stays as it ended.
 *
 * @throws UsherError `not_found`; `overloaded` where its node does not stop it in time
 */
export async function cancelTurn(
  rooms: CancelRooms,
  principal: Principal,
  id: Id<'turn'>,
  patienceMs = waitMs,
): Promise<void> {
  const store = rooms.store.reach(reachOf(principal));
  const found = await findTurn(store, id);
  const queued = found?.queued;
  if (isBeyond(principal, found?.turn ?? queued)) throw new UsherError('not_found', 'There is no such response.');
  if (queued !== undefined && (await dropQueued(rooms, principal, queued, { state: 'cancelled' }))) return;
  rooms.live.get(id)?.cancel();
  if (!(await store.askCancel(id))) return;
  try {
    await followTurn(rooms, id, { principal, relay: () => undefined, signal: AbortSignal.timeout(patienceMs) });
  } catch (error) {
    if (!(error instanceof UsherError) || error.code !== 'client_gone') throw error;
    throw new UsherError('overloaded', 'The response was asked to stop and has not stopped yet. Look again shortly.', {
      retryAfterMs: 1000,
    });
  }
}

/** All nodes look several times within it whether a turn that is followed there has ended. */
const tellMs = 500;
/** A node that runs is heard from within it. */
const deletionWaitMs = 3000;
/** A conversation goes even where somebody keeps on talking in it. */
const roundsMax = 3;

/**
 * Stops all that waits or runs in a conversation that is to be deleted, and leaves its listeners time to be told:
 * what they follow goes with it. A turn of a node that is lost is not waited for.
 */
export async function stopTurnsOf(
  rooms: CancelRooms,
  principal: Principal,
  conversation: Id<'conversation'>,
): Promise<void> {
  const store = rooms.store.reach(reachOf(principal));
  const stop = async (id: Id<'turn'>): Promise<void> => {
    try {
      await cancelTurn(rooms, principal, id, deletionWaitMs);
    } catch (error) {
      if (!(error instanceof UsherError) || (error.code !== 'overloaded' && error.code !== 'not_found')) throw error;
    }
  };
  for (let round = 0; round < roundsMax; round += 1) {
    // Those that wait first, so that none begins where the one that runs has ended.
    const waiting = await store.waitingTurns(conversation);
    await Promise.all(waiting.map(stop));
    const running = await store.runningTurn(conversation);
    if (running !== undefined) await stop(running);
    else if (waiting.length === 0) return;
    await delay(tellMs);
  }
}

/** Ends a turn that never began. False where it is not in the queue any more. */
export async function dropQueued(
  rooms: Pick<TurnRooms, 'store' | 'vault' | 'clock' | 'leases'>,
  { tenant }: Pick<Principal, 'tenant'>,
  queued: QueuedTurn,
  outcome: Parameters<ReturnType<TurnRooms['store']['reach']>['endQueuedTurn']>[2]['outcome'],
): Promise<boolean> {
  const { input: _input, queuedAtMs, deadlineMs: _deadlineMs, ...asked } = queued;
  const turn = {
    ...asked,
    repeats: noRepeats,
    queued: true,
    // It has no answer to be listed with.
    completion: false,
    startedAtMs: queuedAtMs,
    owner: rooms.leases.owner,
    leaseMs: turnLeaseMs,
  };
  const finish = { outcome, usage: noUsage, backend: null, finishedAtMs: rooms.clock.wallMs(), isHeard: false };
  const items = await inputItems(rooms, tenant, queued);
  return rooms.store.reach({ tenant, subject: null }).endQueuedTurn(turn, items, finish);
}

/** What waited, as items of its own; nothing where nobody can read it any more. */
async function inputItems(
  rooms: Pick<TurnRooms, 'vault'>,
  tenant: TenantId,
  { id, subject, input }: QueuedTurn,
): Promise<readonly NewItem[]> {
  try {
    const vault = await rooms.vault.subject(tenant, subject);
    return openInput(vault, id, input).map((item) => sealItem(vault, item));
  } catch (error) {
    if (error instanceof UsherError && error.code !== 'data_damaged') throw error;
    return [];
  }
}
