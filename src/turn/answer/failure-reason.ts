import type { BackendFailure } from '#backend';
import type { Pick } from '#balancer';
import type { ErrorCode } from '#base';

export type Refusal = Extract<Pick, { result: 'none' }>;

export interface FailureReason {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryAfterMs?: number;
}

/**
 * What the caller is told of a turn that no backend answered: the last failure, else why the
 * balancer picked none. Which backend it was is in the logs, not in the answer.
 */
export function failureReason(failure: BackendFailure | undefined, refusal: Refusal | undefined): FailureReason {
  return failure === undefined ? refusedBy(refusal) : failedBy(failure, refusal);
}

function failedBy(failure: BackendFailure, refusal: Refusal | undefined): FailureReason {
  const retryAfterMs = failure.limits.retryAfterMs ?? refusal?.retryAfterMs;
  const retry = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (failure.kind) {
    case 'limited':
      return {
        code: 'rate_limited',
        message: 'The model is at its request limit. Repeat after the time in Retry-After.',
        ...retry,
      };
    case 'refused':
      return failure.backendCode === 'context_length_exceeded'
        ? {
            code: 'context_too_long',
            message: 'The conversation is too long for the model. Start a new one, or lower context.budgetTokens.',
          }
        : {
            code: 'backend_refused',
            message: 'The model refused this request as invalid. Check its parameters and tools.',
          };
    case 'timeout':
      return { code: 'backend_timeout', message: 'The model did not answer in time. Repeat the request.', ...retry };
    case 'connect':
    case 'misconfigured':
      return {
        code: 'backend_unavailable',
        message: 'No model backend could be reached. Repeat later; the owner finds the cause with `usher doctor`.',
        ...retry,
      };
    case 'server':
    case 'cut':
    case 'garbage':
    case 'aborted':
      return {
        code: 'backend_broken',
        message: 'The model broke off its answer. Repeat the request.',
        ...retry,
      };
  }
}

function refusedBy(refusal: Refusal | undefined): FailureReason {
  const retryAfterMs = refusal?.retryAfterMs ?? 1000;
  if (refusal?.reason === 'limited') {
    return {
      code: 'rate_limited',
      message: 'Every model backend is at its request limit. Repeat after the time in Retry-After.',
      retryAfterMs,
    };
  }
  if (refusal?.reason === 'busy') {
    return {
      code: 'overloaded',
      message: 'Every model backend is busy. Repeat after the time in Retry-After.',
      retryAfterMs,
    };
  }
  return {
    code: 'backend_unavailable',
    message: 'No model backend is healthy. Repeat later; the owner finds the cause with `usher doctor`.',
    retryAfterMs,
  };
}
