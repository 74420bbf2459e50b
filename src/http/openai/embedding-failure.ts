import { UsherError } from '#base';
import { dimensionsRefused, type BackendFailure } from '#backend';

/** What the caller is told where a model gave no vectors. Which server it was is in the logs, not in the answer. */
export function embeddingFailure({ kind, backendCode, limits }: BackendFailure): UsherError {
  const { retryAfterMs } = limits;
  const retry = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (kind) {
    case 'limited':
      return new UsherError('rate_limited', 'The embedding model is at its request limit. Repeat later.', {
        retryAfterMs: 1000,
        ...retry,
      });
    case 'refused':
      return refusedBy(backendCode);
    case 'timeout':
      return new UsherError('backend_timeout', 'The embedding model did not answer in time. Repeat.', retry);
    case 'connect':
    case 'misconfigured':
      return new UsherError('backend_unavailable', 'The embedding model cannot be reached. Repeat later.', retry);
    case 'server':
    case 'cut':
    case 'garbage':
    case 'aborted':
      return new UsherError('backend_broken', 'The embedding model gave no whole answer. Repeat.', retry);
  }
}

function refusedBy(backendCode: string | undefined): UsherError {
  switch (backendCode) {
    case 'context_length_exceeded':
      return new UsherError('context_too_long', 'A text is too long for the embedding model. Split it.', {
        param: 'input',
      });
    case dimensionsRefused:
      return new UsherError(
        'backend_refused',
        'The embedding model has no vectors of that length. Leave "dimensions" out, or ask for those it has.',
        { param: 'dimensions' },
      );
    default:
      return new UsherError(
        'backend_refused',
        'The embedding model refused the request as invalid. Shorten the texts, or leave "dimensions" out.',
      );
  }
}
