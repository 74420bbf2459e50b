import type { Id } from '#base';
import type { QueuedTurn } from '#store';
import { admit } from '../admit.ts';
import { sealAsked, sealAuthorisation, sealInput } from './asked-turn.ts';
import { conversationLocked, missing } from '../record.ts';
import { findRepeated } from './repeats.ts';
import { resolve } from '../resolve.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { PlannedTurn, TurnRequest } from '../turn-steps.ts';

/** Turns of one conversation that may wait where nobody waits for them. */
const backgroundWaitingMax = 100;

/**
 * Takes a turn that nobody waits for; a worker begins it. A repeat is the turn that came first.
 * @throws UsherError for a request that is refused
 */
export async function startInBackground(rooms: TurnRooms, request: TurnRequest): Promise<Id<'turn'>> {
  const repeated = await findRepeated(rooms, request);
  if (repeated !== undefined) return repeated;
  const planned = await resolve(rooms, admit(rooms, request));
  try {
    if ((await queueTurn(rooms, planned)) === 'queued') return planned.id;
  } finally {
    planned.release();
  }
  const first = await findRepeated(rooms, request);
  if (first === undefined) throw conversationLocked();
  return first;
}

/** Puts a turn into the queue. @throws UsherError `conversation_locked` where too many wait there already */
export async function queueTurn(rooms: TurnRooms, turn: PlannedTurn): Promise<'queued' | 'repeated'> {
  const { request, subject, reach, served, id } = turn;
  const { whileBusy, queueMax, queueMs } = served.release.spec.turns;
  const vault = await rooms.vault.subject(reach.tenant, subject);
  const row: QueuedTurn = {
    id,
    subject,
    conversation: request.conversation ?? null,
    previous: request.previous ?? null,
    assistant: served.assistant,
    environment: served.environment,
    release: served.release.digest,
    settings: sealAsked(vault, id, request),
    userAuthorisation: sealAuthorisation(vault, turn),
    input: sealInput(vault, id, request.input),
    background: request.background,
    repeats: turn.repeats,
    queuedAtMs: turn.startedAtMs,
    deadlineMs: request.background ? null : turn.startedAtMs + queueMs,
  };
  // Where messages are refused one may stand here alone, on its way to a worker.
  const foregroundMax = whileBusy === 'refuse' ? 1 : queueMax;
  const mostWaiting = request.background ? backgroundWaitingMax : foregroundMax;
  const queued = await rooms.store.reach(reach).enqueueTurn(row, mostWaiting);
  switch (queued) {
    case 'queued':
      rooms.wakeWorker();
      return queued;
    case 'repeated':
      return queued;
    case 'full':
      throw conversationLocked('Too many messages of this conversation wait already. Wait for an answer, or stop it.');
    case 'conversation_missing':
    case 'previous_missing':
      throw missing(queued);
  }
}
