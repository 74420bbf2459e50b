import { nothingTold } from '#conversation';
import { admit } from './admit.ts';
import type { Relay } from './answer/answer.ts';
import { Audience } from './durable/audience.ts';
import { carryOut, holdTurn } from './carry-out.ts';
import { followTurn } from './durable/follow-turn.ts';
import { queueTurn } from './durable/queue-turn.ts';
import { recall } from './recall.ts';
import { begin, conversationLocked, nameConversation, type FinishedEvent } from './record.ts';
import { findRepeated } from './durable/repeats.ts';
import { resolve } from './resolve.ts';
import { relayTo } from './archive/shown-to.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { AdmittedTurn, PlannedTurn, TurnRequest } from './turn-steps.ts';

/**
 * One turn from admission to record. Events go to `relay` as they come: one `started` after what
 * was said is committed, one `finished` after the answer is. A repeat of a request joins the turn
 * that it asked for first. Aborting `signal` is the listener's leaving: a turn that is not stored
 * stops at once, a stored one after its assistant's `outliveClientMs`; what was generated until
 * then is recorded.
 *
 * @throws UsherError for a request that is refused before the turn started
 */
export async function runTurn(
  rooms: TurnRooms,
  request: TurnRequest,
  listener: Relay,
  signal: AbortSignal,
): Promise<FinishedEvent> {
  const relay = relayTo(request.principal, listener);
  const repeated = await findRepeated(rooms, request);
  if (repeated !== undefined) return followTurn(rooms, repeated, { principal: request.principal, relay, signal });
  const planned = await resolve(rooms, admit(rooms, request));
  try {
    if (planned.request.stored && !rooms.runsTurns) return await waitFor(rooms, planned, relay, signal);
    const prompted = await recall(rooms, planned);
    const { vault } = prompted;
    if (!request.stored || vault === undefined) {
      const audience = new Audience(0, { relay, signal });
      return await carryOut(rooms, prompted, { audience, held: undefined });
    }
    const begunAtMs = rooms.clock.monotonicMs();
    const begun = await begin(rooms, prompted, vault);
    if (begun === 'repeated') return await joinFirst(rooms, prompted, relay, signal);
    if (begun === 'locked') return await waitFor(rooms, planned, relay, signal);
    const audience = new Audience(outliveMs(planned), { relay, signal });
    const held = holdTurn(rooms, audience, { id: prompted.id, epoch: 1, begunAtMs });
    await nameConversation(rooms, prompted);
    return await carryOut(rooms, prompted, { audience, held: { ...held, firstSeq: 1, from: nothingTold } });
  } finally {
    planned.release();
  }
}

export function outliveMs({ request, served }: PlannedTurn): number {
  return request.background ? Infinity : served.release.spec.turns.outliveClientMs;
}

/** Its conversation is busy, or another role runs turns: it waits in the queue, and is followed from there. */
async function waitFor(
  rooms: TurnRooms,
  planned: PlannedTurn,
  relay: Relay,
  signal: AbortSignal,
): Promise<FinishedEvent> {
  const { whileBusy } = planned.served.release.spec.turns;
  if (whileBusy === 'refuse' && (rooms.runsTurns || (await isBusy(rooms, planned)))) throw conversationLocked();
  const queued = await queueTurn(rooms, planned);
  if (queued === 'repeated') return joinFirst(rooms, planned, relay, signal);
  // Where it is run it takes a place of its own, which may be here.
  if (rooms.runsTurns) planned.release();
  return followTurn(rooms, planned.id, { principal: planned.request.principal, relay, signal });
}

async function isBusy(rooms: TurnRooms, { reach, request }: PlannedTurn): Promise<boolean> {
  if (request.conversation === undefined) return false;
  return (await rooms.store.reach(reach).runningTurn(request.conversation)) !== undefined;
}

/** Two requests with one idempotency key came at once: the other was first. */
async function joinFirst(
  rooms: TurnRooms,
  { request }: AdmittedTurn,
  relay: Relay,
  signal: AbortSignal,
): Promise<FinishedEvent> {
  const first = await findRepeated(rooms, request);
  if (first === undefined) throw conversationLocked();
  return followTurn(rooms, first, { principal: request.principal, relay, signal });
}
