import { UsherError, type Id } from '#base';
import { noUsage, nothingTold, type Replayed, type StartedTurn, type TurnOutcome } from '#conversation';
import { Answer, type Relay } from './answer/answer.ts';
import { bridge } from './durable/bridge.ts';
import { answerTurn } from './answer/answer-turn.ts';
import type { Audience } from './durable/audience.ts';
import { failedDispatch, type Dispatched } from './dispatch.ts';
import { LiveTurn } from './durable/live-turns.ts';
import { makeRoomFor } from './recall.ts';
import { record, type FinishedEvent } from './record.ts';
import { sealThought } from './context/seal-for-caller.ts';
import { isStoreAway } from './durable/store-away.ts';
import { TurnLog } from './durable/turn-log.ts';
import type { TurnLease } from './durable/turn-leases.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { openTurnTools } from './answer/turn-tools.ts';
import type { PromptedTurn } from './turn-steps.ts';

/** A stored turn that this node holds: where it stands and what its next event is numbered. */
export interface HeldRun {
  readonly live: LiveTurn;
  readonly lease: TurnLease;
  readonly firstSeq: number;
  readonly from: Replayed;
}

/** Why a turn ends without asking a model again. */
export type GivenUp = Pick<Extract<TurnOutcome, { state: 'failed' }>, 'code' | 'message'>;

export interface Run {
  readonly audience: Audience;
  /** A run whose events nobody keeps has none. */
  readonly held: HeldRun | undefined;
  readonly givenUp?: GivenUp | undefined;
}

/**
 * Steps 4 to 6 of a turn, by its first node or by one that took it over: the model's answer, told
 * and made durable as it comes, then recorded.
 *
 * @throws UsherError `interrupted` where this node may not end it: another one does
 */
export async function carryOut(rooms: TurnRooms, recalled: PromptedTurn, run: Run): Promise<FinishedEvent> {
  const { audience, held, givenUp } = run;
  const log = held === undefined ? undefined : openLog(rooms, recalled, audience, held);
  const stop = stopSignal(rooms, run);
  const leave = held === undefined ? undefined : rooms.live.add(recalled.id, held.live);
  try {
    await audience.tell({ type: 'started', turn: startedTurn(recalled) });
    const tools = await openTurnTools(rooms, recalled);
    const turn = makeRoomFor(tools.functions, recalled);
    const from = held?.from ?? nothingTold;
    const tell = log?.tell ?? audience.tell;
    const sources = turn.prompt.format === undefined ? turn.sources : undefined;
    const answer = new Answer(tell, { toolOf: tools.toolOf, sources, seal: sealOf(turn), from });
    bridge(from, tell);
    const answered =
      givenUp === undefined
        ? await answerSafely(rooms, turn, { answer, audience, tools, from, signal: stop }, held)
        : endGivenUp(givenUp, from);
    if (held !== undefined && isNoLongerOurs(rooms, held, answered)) {
      await log?.leave();
      throw log?.failure ?? movedElsewhere();
    }
    await answer.close(answered.outcome.state === 'completed' ? 'completed' : 'incomplete');
    const kept = log && held && { log, lease: held.lease, audience };
    const finished = await record(rooms, turn, { answer, answered, kept });
    await audience.tell(finished);
    return finished;
  } catch (error) {
    if (!(error instanceof UsherError) || error.code !== 'storage_full') throw error;
    rooms.live.foundNoRoom(recalled.id);
    return await tellNoRoom(rooms, recalled, audience);
  } finally {
    log?.close();
    held?.lease.release();
    audience.close();
    leave?.();
  }
}

function sealOf({ request, vault }: PromptedTurn): ((text: string) => string) | undefined {
  return request.sealsReasoning && vault !== undefined ? (text) => sealThought(vault, text) : undefined;
}

function endGivenUp(reason: GivenUp, { usage, backend }: Replayed): Dispatched {
  return { outcome: { state: 'failed', ...reason }, usage, backend, firstTokenMs: undefined };
}

/** It is recorded so as soon as there is room. */
async function tellNoRoom(rooms: TurnRooms, turn: PromptedTurn, audience: Audience): Promise<FinishedEvent> {
  const outcome = { state: 'failed', ...noRoom } as const;
  const finished = { type: 'finished', outcome, usage: noUsage, finishedAtMs: rooms.clock.wallMs() } as const;
  rooms.telemetry.storeFailed({ operation: 'turn', code: noRoom.code });
  await audience.tell(finished);
  return finished;
}

export const noRoom = {
  code: 'storage_full',
  message: 'There was no room to store the answer. Send the message again.',
} as const;

/** Its lease is lost, or this node stops before the answer is whole: another is to go on with it. */
function isNoLongerOurs(rooms: TurnRooms, { live, lease }: HeldRun, { outcome }: Dispatched): boolean {
  if (!lease.isHeld()) return true;
  return outcome.state === 'cancelled' && rooms.stopping.aborted && !live.cancelled.aborted;
}

function movedElsewhere(): UsherError {
  return new UsherError('interrupted', 'The server lost its hold of this answer; another goes on with it.');
}

function openLog(rooms: TurnRooms, turn: PromptedTurn, audience: Audience, held: HeldRun): TurnLog {
  if (turn.vault === undefined) throw new UsherError('internal', 'A stored turn has no key.');
  const relay: Relay = audience.tell;
  return new TurnLog({
    turn: turn.id,
    tenant: turn.reach.tenant,
    subject: turn.subject,
    vault: turn.vault,
    lease: held.lease,
    writer: rooms.writer,
    firstSeq: held.firstSeq,
    relay,
    isFollowed: () => audience.isFollowed,
    changed: () => held.live.change(),
    cancel: () => held.live.cancel(),
    nowMs: () => rooms.clock.wallMs(),
  });
}

function stopSignal(rooms: TurnRooms, { audience, held }: Run): AbortSignal {
  if (held === undefined) return audience.gone;
  return AbortSignal.any([audience.gone, held.lease.lost, held.live.cancelled, rooms.stopping]);
}

/**
 * A defect of ours after the turn began must not leave it running for ever: it is recorded as failed.
 * A database that is away is none: whoever reaches it when the lease is over goes on.
 */
async function answerSafely(
  rooms: TurnRooms,
  turn: PromptedTurn,
  work: Parameters<typeof answerTurn>[2],
  held: HeldRun | undefined,
): Promise<Dispatched> {
  try {
    return await answerTurn(rooms, turn, work);
  } catch (error) {
    if (held !== undefined && isStoreAway(error)) throw error;
    rooms.telemetry.unexpected({ where: 'answer', error });
    return failedDispatch(turn, work.answer);
  }
}

function startedTurn(turn: PromptedTurn): StartedTurn {
  const { assistant, environment, release } = turn.served;
  return { id: turn.id, assistant, environment, release: release.digest, startedAtMs: turn.startedAtMs };
}

/** What a run of a stored turn needs of its lease, from the commit that made it this node's. */
export function holdTurn(
  rooms: TurnRooms,
  audience: Audience,
  held: { readonly id: Id<'turn'>; readonly epoch: number; readonly begunAtMs: number },
): Pick<HeldRun, 'live' | 'lease'> {
  const live = new LiveTurn(audience);
  const lease = rooms.leases.hold(held.id, held.epoch, held.begunAtMs, ({ cancelAsked, isHeard }) => {
    if (cancelAsked) live.cancel();
    audience.heardElsewhere(isHeard);
  });
  return { live, lease };
}
