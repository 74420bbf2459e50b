import type { AnswerEnd, BackendFailure } from '#backend';
import { prefixChain, type Need } from '#balancer';
import type { TurnOutcome, Usage } from '#conversation';
import type { Answer } from './answer.ts';
import type { BackendPool } from './backend-pool.ts';
import { failureReason, type FailureReason, type Refusal } from './failure-reason.ts';
import { tryBackend, type AttemptTrace } from './try-backend.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { estimateTokens } from './tokens.ts';
import type { PromptedTurn } from './turn-steps.ts';

export interface Dispatched extends AttemptTrace {
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
}

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
        return cancelled(turn, answer, noTrace);
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
      const prompt = model === undefined ? turn.prompt : { ...turn.prompt, model };
      const attempt = await tryBackend(rooms, { id: turn.id, prompt, answer, pool, ticket: pick.ticket, signal });
      if (attempt.result === 'ended') return ended(turn, answer, attempt.end, attempt.trace);
      if (attempt.result === 'stopped') return cancelled(turn, answer, attempt.trace);
      failure = attempt.failure;
      failedPool = pool;
      if (!attempt.retry) return failed(turn, answer, failureReason(failure, undefined), attempt.trace);
    }
  }
  const usage = failure === undefined ? noUsage : estimatedUsage(turn, answer);
  const outcome = { state: 'failed', ...failureReason(failure, refusal) } as const;
  return { outcome, usage, backend: failure?.backend ?? null, firstTokenMs: undefined };
}

const noTrace: AttemptTrace = { backend: null, firstTokenMs: undefined };

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

function ended(turn: PromptedTurn, answer: Answer, end: AnswerEnd, trace: AttemptTrace): Dispatched {
  const usage = end.usage ?? estimatedUsage(turn, answer);
  switch (end.finish) {
    case 'stop':
    case 'call':
      return { outcome: { state: 'completed', reason: end.finish }, usage, ...trace };
    case 'length':
    case 'filtered':
      return { outcome: { state: 'incomplete', reason: end.finish }, usage, ...trace };
  }
}

function cancelled(turn: PromptedTurn, answer: Answer, trace: AttemptTrace): Dispatched {
  return { outcome: { state: 'cancelled' }, usage: estimatedUsage(turn, answer), ...trace };
}

function failed(turn: PromptedTurn, answer: Answer, reason: FailureReason, trace: AttemptTrace): Dispatched {
  return { outcome: { state: 'failed', ...reason }, usage: estimatedUsage(turn, answer), ...trace };
}

/** A turn that broke on a defect of ours; the cause is in the logs. */
export function failedDispatch(turn: PromptedTurn, answer: Answer): Dispatched {
  const outcome = { state: 'failed', code: 'internal', message: 'The server failed. Repeat the request.' } as const;
  return { outcome, usage: estimatedUsage(turn, answer), ...noTrace };
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
