import { BackendFailure, type AnswerEnd, type ModelRequest } from '#backend';
import type { Settlement, Ticket } from '#balancer';
import type { Id } from '#base';
import type { Answer } from './answer.ts';
import type { BackendPool } from './backend-pool.ts';
import type { TurnRooms } from '../turn-rooms.ts';

/** Who answered, and when its first token came, for the record and the metrics. */
export interface AttemptTrace {
  readonly backend: string | null;
  readonly firstTokenMs: number | undefined;
}

/** What one attempt came to. `told`: it was relayed as far as it came. */
type Ending =
  | { readonly result: 'ended'; readonly end: AnswerEnd }
  | { readonly result: 'stopped' }
  | { readonly result: 'failed'; readonly failure: BackendFailure; readonly told: boolean };

export type Attempt = Ending & { readonly trace: AttemptTrace };

/** One attempt at one backend. Its charge on the pool is settled when it ends, however it ends. */
export async function tryBackend(
  rooms: TurnRooms,
  attempt: {
    readonly id: Id<'turn'>;
    readonly prompt: ModelRequest;
    readonly answer: Answer;
    readonly pool: BackendPool;
    readonly ticket: Ticket;
    readonly signal: AbortSignal;
    /** Whether it may go on with what the answer has already, where it can. */
    readonly mayContinue: boolean;
  },
): Promise<Attempt> {
  const { id, answer, pool, ticket, signal } = attempt;
  const { backend } = ticket;
  const startedMs = rooms.clock.monotonicMs();
  let firstTokenMs: number | undefined;
  const { prompt, begin } = beginning(attempt);
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  signal.addEventListener('abort', abort, { once: true });
  let ending: Ending | undefined;
  try {
    const end = await pool.backend(ticket).answer(
      prompt,
      {
        head: (limits) => pool.head(ticket, limits),
        event: (event) => {
          let begun: void | Promise<void> = undefined;
          if (firstTokenMs === undefined) {
            firstTokenMs = rooms.clock.monotonicMs() - startedMs;
            pool.firstToken(ticket);
            begun = begin();
          }
          const relayed = answer.add(event);
          if (answer.overlong) stop.abort();
          return begun === undefined ? relayed : Promise.all([begun, relayed]).then(() => undefined);
        },
      },
      pool.timeouts,
      stop.signal,
    );
    // An answer of nothing is one too: what another began does not stand in its place.
    if (firstTokenMs === undefined) await begin();
    ending = { result: 'ended', end };
  } catch (error) {
    ending = endingOf(error, answer, signal, firstTokenMs !== undefined);
    if (ending.result === 'failed') pool.head(ticket, ending.failure.limits);
  } finally {
    signal.removeEventListener('abort', abort);
    pool.settle(ticket, settlementOf(ending, answer));
    const durationMs = rooms.clock.monotonicMs() - startedMs;
    rooms.telemetry.attemptFinished({ turn: id, backend, result: resultOf(ending), firstTokenMs, durationMs });
  }
  return { ...ending, trace: { backend, firstTokenMs } };
}

/**
 * What is asked where the answer has begun already, and what its first event, or its end, does to it: it goes on
 * with the text so far, or what was told counts no more. Not before: a backend that fails before it
 * tells anything changes nothing.
 */
function beginning({ prompt, answer, pool, ticket, mayContinue }: Parameters<typeof tryBackend>[1]): {
  readonly prompt: ModelRequest;
  readonly begin: () => void | Promise<void>;
} {
  if (!answer.begun) return { prompt, begin: () => undefined };
  const { prefix } = answer;
  if (prefix === undefined || !mayContinue || pool.backend(ticket).continues !== true) {
    return { prompt, begin: () => answer.restart() };
  }
  return { prompt: { ...prompt, continueFrom: prefix }, begin: () => answer.resume() };
}

/** @throws what is a defect of ours and not of the backend */
function endingOf(error: unknown, answer: Answer, signal: AbortSignal, told: boolean): Ending {
  if (answer.overlong) return { result: 'ended', end: { finish: 'length', usage: undefined } };
  if (signal.aborted) return { result: 'stopped' };
  if (!(error instanceof BackendFailure)) throw error;
  return { result: 'failed', failure: error, told };
}

function settlementOf(ending: Ending | undefined, answer: Answer): Settlement {
  if (ending?.result === 'ended') {
    return { result: 'answered', outputTokens: ending.end.usage?.outputTokens ?? Math.ceil(answer.characters / 4) };
  }
  if (ending?.result !== 'failed') return { result: 'neutral' };
  const { kind, limits } = ending.failure;
  switch (kind) {
    case 'limited':
      return { result: 'limited', retryAfterMs: limits.retryAfterMs };
    case 'refused':
    case 'aborted':
      return { result: 'neutral' };
    case 'connect':
    case 'server':
    case 'timeout':
    case 'cut':
    case 'garbage':
    case 'misconfigured':
      return { result: 'failed', kind };
  }
}

/** For the metric: a closed set of words. */
function resultOf(ending: Ending | undefined): string {
  switch (ending?.result) {
    case 'ended':
      return 'answered';
    case 'failed':
      return ending.failure.kind;
    case 'stopped':
    case undefined:
      return 'stopped';
  }
}
