import { UsherError } from '#base';
import { reachOf } from '#access';
import type { StartedTurn } from '#conversation';
import type { QueuedTurn } from '#store';
import { admit } from './admit.ts';
import { sealAsked, sealInput } from './asked-turn.ts';
import { findTurn } from './find-turn.ts';
import { conversationLocked, missing } from './record.ts';
import { findRepeated } from './repeats.ts';
import { resolve } from './resolve.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { PlannedTurn, TurnRequest } from './turn-steps.ts';

/** Turns of one conversation that may wait where nobody waits for them. */
const backgroundWaitingMax = 100;

/** A turn as it stands when it was taken: nothing of it has run. */
export interface TakenTurn extends StartedTurn {
  readonly isRepeat: boolean;
}

/**
 * Takes a turn that nobody waits for; a worker begins it.
 * @throws UsherError for a request that is refused
 */
export async function startInBackground(rooms: TurnRooms, request: TurnRequest): Promise<TakenTurn> {
  const repeated = await findRepeated(rooms, request);
  if (repeated !== undefined) return readTaken(rooms, request, repeated);
  const admitted = admit(rooms, request);
  try {
    const planned = await resolve(rooms, admitted);
    const queued = await queueTurn(rooms, planned);
    if (queued === 'queued') {
      const { assistant, environment, release } = planned.served;
      const { id, startedAtMs } = planned;
      return { id, assistant, environment, release: release.digest, startedAtMs, isRepeat: false };
    }
  } finally {
    admitted.release();
  }
  const first = await findRepeated(rooms, request);
  if (first === undefined) throw conversationLocked();
  return readTaken(rooms, request, first);
}

async function readTaken(rooms: TurnRooms, request: TurnRequest, id: TakenTurn['id']): Promise<TakenTurn> {
  const store = rooms.store.reach(reachOf(request.principal));
  const found = await findTurn(store, id);
  const { turn, queued } = found ?? {};
  const row = turn ?? queued;
  if (row === undefined) throw new UsherError('not_found', 'The response to this request was deleted.');
  const { assistant, environment, release } = row;
  const startedAtMs = turn?.startedAtMs ?? queued?.queuedAtMs ?? 0;
  return { id, assistant, environment, release, startedAtMs, isRepeat: true };
}

/** Puts a turn into the queue. @throws UsherError `conversation_locked` where too many wait there already */
export async function queueTurn(rooms: TurnRooms, turn: PlannedTurn): Promise<'queued' | 'repeated'> {
  const { request, subject, reach, served, id } = turn;
  const { queueMax, queueMs } = served.release.spec.turns;
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
    input: sealInput(vault, id, request.input),
    background: request.background,
    repeats: turn.repeats,
    queuedAtMs: turn.startedAtMs,
    deadlineMs: request.background ? null : turn.startedAtMs + queueMs,
  };
  const queued = await rooms.store.reach(reach).enqueueTurn(row, request.background ? backgroundWaitingMax : queueMax);
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
