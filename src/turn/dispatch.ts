import { BackendFailure, type AnswerEnd } from '#backend';
import { prefixChain, type Need, type Settlement, type Ticket } from '#balancer';
import type { TurnOutcome, Usage } from '#conversation';
import type { Answer } from './answer.ts';
import type { BackendPool } from './backend-pool.ts';
import { failureReason, type Refusal } from './failure-reason.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { estimateTokens } from './tokens.ts';
import type { PromptedTurn } from './turn-steps.ts';

export interface Dispatched {
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
  readonly backend: string | null;
  readonly firstTokenMs: number | undefined;
}

/** What one attempt came to. `retry`: nothing was relayed, so another backend may try unseen. */
type Attempt =
  | { readonly result: 'ended'; readonly end: AnswerEnd }
  | { readonly result: 'stopped' }
  | { readonly result: 'failed'; readonly failure: BackendFailure; readonly retry: boolean };

/**
 * Step 4: pools in the assistant's order, in each the balancer's pick; before the first token a
 * failed attempt is repeated elsewhere within the retry budget, after it the turn fails visibly.
 */
export async function dispatch(
  rooms: TurnRooms,
  turn: PromptedTurn,
  answer: Answer,
  signal: AbortSignal,
): Promise<Dispatched> {
  const need = needOf(turn);
  const tried = new Set<string>();
  let refusal: Refusal | undefined;
  let failure: BackendFailure | undefined;
  let failedPool: BackendPool | undefined;
  for (const { pool, model, isFallback } of routeOf(rooms, turn)) {
    for (;;) {
      if (tried.size >= pool.attemptsMax) break;
      const pick = await pool.pick({ ...need, exclude: tried }, signal);
      if (signal.aborted) {
        if (pick.result === 'picked') pool.settle(pick.ticket, { result: 'neutral' });
        return cancelled(turn, answer, undefined, undefined);
      }
      if (pick.result === 'none') {
        refusal ??= pick;
        break;
      }
      // The budget is that of the pool that failed; an answer from knowledge costs no model anything.
      if (failedPool !== undefined && !isFallback && !failedPool.mayRetry()) {
        pool.settle(pick.ticket, { result: 'neutral' });
        break;
      }
      tried.add(pick.ticket.backend);
      const request = model === undefined ? turn.prompt : { ...turn.prompt, model };
      const timer: AttemptTimer = { startedMs: rooms.clock.monotonicMs(), firstTokenMs: undefined };
      const attempt = await tryOnce(rooms, { ...turn, prompt: request }, answer, pool, pick.ticket, timer, signal);
      const firstTokenMs = timer.firstTokenMs;
      if (attempt.result === 'ended') return ended(turn, answer, attempt.end, pick.ticket.backend, firstTokenMs);
      if (attempt.result === 'stopped') return cancelled(turn, answer, pick.ticket.backend, firstTokenMs);
      failure = attempt.failure;
      failedPool = pool;
      if (!attempt.retry) return failed(turn, answer, failure, undefined, pick.ticket.backend, firstTokenMs);
    }
  }
  return failed(turn, answer, failure, refusal, null, undefined);
}

interface AttemptTimer {
  readonly startedMs: number;
  firstTokenMs: number | undefined;
}

interface Way {
  readonly pool: BackendPool;
  readonly model: string | undefined;
  readonly isFallback: boolean;
}

/** The assistant's pools in order, then the first fallback that one of them has. */
function routeOf(rooms: TurnRooms, turn: PromptedTurn): Way[] {
  const named = turn.served.release.spec.pools.map(({ pool, model }) => {
    return { pool: rooms.pool(pool), model, isFallback: false };
  });
  const fallback = named.map(({ pool }) => pool.fallback).find((pool) => pool !== undefined);
  return fallback === undefined ? named : [...named, { pool: fallback, model: undefined, isFallback: true }];
}

function needOf(turn: PromptedTurn): Omit<Need, 'exclude'> {
  const texts = turn.prompt.messages.map((message) =>
    typeof message.content === 'string'
      ? message.content
      : message.content.map((part) => (part.type === 'text' ? part.text : part.url)).join(''),
  );
  return { promptTokens: turn.promptTokens, ...prefixChain(texts, turn.reach.tenant) };
}

async function tryOnce(
  rooms: TurnRooms,
  turn: PromptedTurn,
  answer: Answer,
  pool: BackendPool,
  ticket: Ticket,
  timer: AttemptTimer,
  signal: AbortSignal,
): Promise<Attempt> {
  const backend = pool.backend(ticket);
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  signal.addEventListener('abort', abort, { once: true });
  let settlement: Settlement = { result: 'neutral' };
  let result = 'stopped';
  try {
    const end = await backend.answer(
      turn.prompt,
      {
        head: (limits) => pool.head(ticket, limits),
        event: (event) => {
          if (timer.firstTokenMs === undefined) {
            timer.firstTokenMs = rooms.clock.monotonicMs() - timer.startedMs;
            pool.firstToken(ticket);
          }
          const relayed = answer.add(event);
          if (answer.overlong) stop.abort();
          return relayed;
        },
      },
      pool.timeouts,
      stop.signal,
    );
    const outputTokens = end.usage?.outputTokens ?? Math.ceil(answer.characters / 4);
    settlement = { result: 'answered', outputTokens };
    result = 'answered';
    return { result: 'ended', end };
  } catch (error) {
    if (answer.overlong) return { result: 'ended', end: { finish: 'length', usage: undefined } };
    if (signal.aborted) return { result: 'stopped' };
    if (!(error instanceof BackendFailure)) throw error;
    result = error.kind;
    settlement = settlementOf(error);
    pool.head(ticket, error.limits);
    return { result: 'failed', failure: error, retry: !answer.begun && error.kind !== 'refused' };
  } finally {
    signal.removeEventListener('abort', abort);
    pool.settle(ticket, settlement);
    const { firstTokenMs, startedMs } = timer;
    const durationMs = rooms.clock.monotonicMs() - startedMs;
    rooms.telemetry.attemptFinished({ turn: turn.id, backend: ticket.backend, result, firstTokenMs, durationMs });
  }
}

function settlementOf(failure: BackendFailure): Settlement {
  switch (failure.kind) {
    case 'limited':
      return { result: 'limited', retryAfterMs: failure.limits.retryAfterMs };
    case 'refused':
    case 'aborted':
      return { result: 'neutral' };
    case 'connect':
    case 'server':
    case 'timeout':
    case 'cut':
    case 'garbage':
    case 'misconfigured':
      return { result: 'failed', kind: failure.kind };
  }
}

function ended(
  turn: PromptedTurn,
  answer: Answer,
  end: AnswerEnd,
  backend: string,
  firstTokenMs: number | undefined,
): Dispatched {
  const usage = end.usage ?? estimatedUsage(turn, answer);
  switch (end.finish) {
    case 'stop':
    case 'call':
      return { outcome: { state: 'completed', reason: end.finish }, usage, backend, firstTokenMs };
    case 'length':
    case 'filtered':
      return { outcome: { state: 'incomplete', reason: end.finish }, usage, backend, firstTokenMs };
  }
}

function cancelled(
  turn: PromptedTurn,
  answer: Answer,
  backend: string | undefined,
  firstTokenMs: number | undefined,
): Dispatched {
  return {
    outcome: { state: 'cancelled' },
    usage: estimatedUsage(turn, answer),
    backend: backend ?? null,
    firstTokenMs,
  };
}

function failed(
  turn: PromptedTurn,
  answer: Answer,
  failure: BackendFailure | undefined,
  refusal: Refusal | undefined,
  backend: string | null,
  firstTokenMs: number | undefined,
): Dispatched {
  const reason = failureReason(failure, refusal);
  const usage = backend === null && failure === undefined ? noUsage : estimatedUsage(turn, answer);
  return { outcome: { state: 'failed', ...reason }, usage, backend: backend ?? failure?.backend ?? null, firstTokenMs };
}

/** A turn that broke on a defect of ours; the cause is in the logs. */
export function failedDispatch(turn: PromptedTurn, answer: Answer): Dispatched {
  const outcome = { state: 'failed', code: 'internal', message: 'The server failed. Repeat the request.' } as const;
  return { outcome, usage: estimatedUsage(turn, answer), backend: null, firstTokenMs: undefined };
}

export const noUsage: Usage = {
  inputTokens: 0,
  cachedInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  estimated: true,
};

/** Where the backend could not report: the prompt was read whole, the answer up to where it stopped. */
function estimatedUsage(turn: PromptedTurn, answer: Answer): Usage {
  const last = answer.characters === 0 ? 0 : Math.max(1, Math.ceil(answer.characters / 4));
  return { ...noUsage, inputTokens: turn.promptTokens || estimateTokens(turn.prompt.question), outputTokens: last };
}
