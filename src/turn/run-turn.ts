import type { StartedTurn } from '#conversation';
import { admit } from './admit.ts';
import { Answer, type Relay } from './answer.ts';
import { dispatch, failedDispatch, type Dispatched } from './dispatch.ts';
import { recall } from './recall.ts';
import { begin, record, type FinishedEvent } from './record.ts';
import { resolve } from './resolve.ts';
import type { TurnLease } from './turn-leases.ts';
import type { TurnRooms } from './turn-rooms.ts';
import type { PromptedTurn, TurnRequest } from './turn-steps.ts';

/**
 * One turn from admission to record. Events go to `relay` as they come: one `started` after what
 * was said is committed, one `finished` after the answer is. Aborting `signal` stops the backend;
 * what was generated until then is recorded.
 *
 * @throws UsherError for a request that is refused before the turn started
 */
export async function runTurn(
  rooms: TurnRooms,
  request: TurnRequest,
  relay: Relay,
  signal: AbortSignal,
): Promise<FinishedEvent> {
  const admitted = admit(rooms, request);
  const audience = new Audience(relay, signal);
  let lease: TurnLease | undefined;
  try {
    const planned = await resolve(rooms, admitted);
    const prompted = await recall(rooms, planned);
    lease = await begin(rooms, prompted);
    if (lease !== undefined) audience.leaveWith(lease.lost);
    const answer = new Answer(audience.tell);
    await audience.tell({ type: 'started', turn: startedTurn(prompted) });
    const dispatched = await dispatchSafely(rooms, prompted, answer, audience.gone);
    await answer.close(dispatched.outcome.state === 'completed' ? 'completed' : 'incomplete');
    lease?.release();
    const finished = await record(rooms, prompted, answer, lease?.lost.aborted ? interrupted(dispatched) : dispatched);
    await audience.tell(finished);
    return finished;
  } finally {
    lease?.release();
    admitted.release();
    audience.close();
  }
}

/** Who listens to a turn. Once a relay fails nobody does: the backend is stopped, the record still made. */
class Audience {
  readonly #gone = new AbortController();
  readonly #relay: Relay;
  readonly #reasons: AbortSignal[] = [];

  constructor(relay: Relay, signal: AbortSignal) {
    this.#relay = relay;
    this.leaveWith(signal);
  }

  /** Nobody listens any more, or may be told, once this aborts. */
  leaveWith(signal: AbortSignal): void {
    this.#reasons.push(signal);
    if (signal.aborted) this.#leave();
    else signal.addEventListener('abort', this.#leave, { once: true });
  }

  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  readonly tell: Relay = (event) => {
    if (this.gone.aborted) return;
    return this.#relay(event)?.catch(this.#leave);
  };

  close(): void {
    for (const signal of this.#reasons) signal.removeEventListener('abort', this.#leave);
  }

  readonly #leave = (): void => this.#gone.abort();
}

/** A defect of ours after the turn began must not leave it running for ever: it is recorded as failed. */
async function dispatchSafely(
  rooms: TurnRooms,
  turn: PromptedTurn,
  answer: Answer,
  gone: AbortSignal,
): Promise<Dispatched> {
  try {
    return await dispatch(rooms, turn, answer, gone);
  } catch (error) {
    rooms.telemetry.unexpected({ where: 'dispatch', error });
    return failedDispatch(turn, answer);
  }
}

/** This node may no longer speak for the turn: whatever it has, it is not the whole answer. */
function interrupted(dispatched: Dispatched): Dispatched {
  const message = 'The server lost its hold of this answer. Send the message again.';
  return { ...dispatched, outcome: { state: 'failed', code: 'interrupted', message } };
}

function startedTurn(turn: PromptedTurn): StartedTurn {
  const { assistant, environment, release } = turn.served;
  return { id: turn.id, assistant, environment, release: release.digest, startedAtMs: turn.startedAtMs };
}
