import type { AnswerEnd, BackendFailure, ModelRequest } from '#backend';
import { prefixChain, type Need } from '#balancer';
import { addUsage, noUsage, type TurnOutcome, type Usage } from '#conversation';
import type { Answer } from './answer/answer.ts';
import type { BackendPool } from './answer/backend-pool.ts';
import { failureReason, type FailureReason, type Refusal } from './answer/failure-reason.ts';
import { tryBackend, type AttemptTrace } from './answer/try-backend.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { estimateTokens } from './context/tokens.ts';
import type { PromptedTurn } from './turn-steps.ts';

export interface Dispatched extends AttemptTrace {
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
}

/** One answer of a model. */
export interface Question {
  readonly prompt: ModelRequest;
  readonly promptTokens: number;
  readonly answer: Answer;
  readonly signal: AbortSignal;
}

/** Answers that broke off after their first token and were rescued, in one answer of a model at the most. */
const rescuesMax = 3;

/**
 * Step 4: pools in the assistant's order, in each the balancer's pick; a failed attempt is repeated
 * elsewhere within the retry budget. Before the first token nobody sees it; after it the owner's
 * setting says whether another backend goes on with the answer, makes it anew, or it fails visibly.
 */
export async function dispatch(rooms: TurnRooms, turn: PromptedTurn, question: Question): Promise<Dispatched> {
  const { answer, signal } = question;
  const need = needOf(turn, question);
  const { rescue } = turn.served.release.spec.turns;
  const tried = new Set<string>();
  let refusal: Refusal | undefined;
  let failure: BackendFailure | undefined;
  let failedPool: BackendPool | undefined;
  let wasted = noUsage;
  let rescues = 0;
  for (const { pool, model, isFallback } of routeOf(rooms, turn, question.prompt)) {
    for (;;) {
      if (tried.size >= pool.attemptsMax) break;
      const pick = await pool.pick({ ...need, exclude: tried }, signal);
      if (signal.aborted) {
        if (pick.result === 'picked') pool.settle(pick.ticket, { result: 'neutral' });
        return cancelled(question, noTrace, wasted);
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
      const prompt = model === undefined ? question.prompt : { ...question.prompt, model };
      const attempt = await tryBackend(rooms, {
        id: turn.id,
        prompt,
        answer,
        pool,
        ticket: pick.ticket,
        signal,
        mayContinue: rescue === 'continue',
      });
      if (attempt.result === 'ended') return ended(question, attempt.end, attempt.trace, wasted);
      if (attempt.result === 'stopped') return cancelled(question, attempt.trace, wasted);
      failure = attempt.failure;
      failedPool = pool;
      if (failure.kind === 'refused') return failed(question, failure, attempt.trace, wasted);
      // Of thoughts alone nobody has an answer yet: another is made whatever the owner wants of one that broke.
      if (attempt.told && (rescue !== 'fail' || answer.spoke)) {
        rescues += 1;
        if (rescue === 'fail' || rescues > rescuesMax) return failed(question, failure, attempt.trace, wasted);
        wasted = addUsage(wasted, estimatedUsage(question));
        // A cut is no fault of the request: the others, and a lone backend itself, may be asked again.
        tried.clear();
        if (pool.members().length > 1) tried.add(pick.ticket.backend);
      }
    }
  }
  const usage = failure === undefined ? noUsage : addUsage(wasted, estimatedUsage(question));
  const outcome = { state: 'failed', ...failureReason(failure, refusal) } as const;
  return { outcome, usage, backend: failure?.backend ?? null, firstTokenMs: undefined };
}

const noTrace: AttemptTrace = { backend: null, firstTokenMs: undefined };

/** Stopped between two answers of models. */
export const cancelledDispatch: Pick<Dispatched, 'outcome'> = { outcome: { state: 'cancelled' } };

interface Way {
  readonly pool: BackendPool;
  readonly model: string | undefined;
  readonly isFallback: boolean;
}

/** The assistant's pools in order, then the first fallback that one of them has. */
function routeOf(rooms: TurnRooms, turn: PromptedTurn, { byModel }: ModelRequest): Way[] {
  const named = turn.served.release.spec.pools.map(({ pool, model }) => {
    return { pool: rooms.pool(pool), model, isFallback: false };
  });
  if (byModel === true) return named;
  const fallback = named.map(({ pool }) => pool.fallback).find((pool) => pool !== undefined);
  return fallback === undefined ? named : [...named, { pool: fallback, model: undefined, isFallback: true }];
}

function needOf(turn: PromptedTurn, { prompt, promptTokens }: Question): Omit<Need, 'exclude'> {
  const texts = prompt.messages.map((message) =>
    typeof message.content === 'string'
      ? message.content
      : message.content.map((part) => (part.type === 'text' ? part.text : part.url)).join(''),
  );
  return { promptTokens, ...prefixChain(texts, turn.reach.tenant) };
}

function ended(question: Question, end: AnswerEnd, trace: AttemptTrace, wasted: Usage): Dispatched {
  const usage = addUsage(wasted, end.usage ?? estimatedUsage(question));
  switch (end.finish) {
    case 'stop':
    case 'call':
      return { outcome: { state: 'completed', reason: end.finish }, usage, ...trace };
    case 'length':
    case 'filtered':
      return { outcome: { state: 'incomplete', reason: end.finish }, usage, ...trace };
  }
}

function cancelled(question: Question, trace: AttemptTrace, wasted: Usage): Dispatched {
  const usage = addUsage(wasted, estimatedUsage(question));
  return { outcome: { state: 'cancelled' }, usage, ...trace };
}

function failed(question: Question, failure: BackendFailure, trace: AttemptTrace, wasted: Usage): Dispatched {
  const reason: FailureReason = failureReason(failure, undefined);
  return { outcome: { state: 'failed', ...reason }, usage: addUsage(wasted, estimatedUsage(question)), ...trace };
}

/** A turn that broke on a defect of ours; the cause is in the logs. */
export function failedDispatch(turn: PromptedTurn, answer: Answer): Dispatched {
  const outcome = { state: 'failed', code: 'internal', message: 'The server failed. Repeat the request.' } as const;
  const { promptTokens, prompt } = turn;
  const usage = estimatedUsage({ promptTokens, prompt, answer, signal: AbortSignal.abort() });
  return { outcome, usage, ...noTrace };
}

/** Where the backend could not report: the prompt was read whole, the answer up to where it stopped. */
function estimatedUsage({ answer, prompt, promptTokens }: Question): Usage {
  const outputTokens = answer.characters === 0 ? 0 : Math.max(1, Math.ceil(answer.characters / 4));
  const inputTokens = promptTokens || estimateTokens(prompt.question);
  return { ...noUsage, inputTokens, outputTokens, estimated: true };
}
