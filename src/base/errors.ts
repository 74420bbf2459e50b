/**
 * Failures that cross rooms. The set of codes is closed: `http/rescue.ts` maps each one to a
 * status, so that a new code does not compile before it has one.
 */
export type ErrorCode =
  | 'invalid_request'
  | 'invalid_credentials'
  | 'forbidden'
  | 'not_found'
  | 'model_not_found'
  | 'previous_response_not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'conversation_locked'
  | 'request_timeout'
  | 'too_large'
  | 'unsupported_media_type'
  | 'context_too_long'
  | 'rate_limited'
  | 'overloaded'
  | 'shutting_down'
  | 'not_ready'
  | 'client_gone'
  | 'backend_refused'
  | 'backend_unavailable'
  | 'backend_timeout'
  | 'backend_broken'
  | 'format_broken'
  | 'storage_full'
  | 'storage_unavailable'
  | 'data_damaged'
  | 'config_invalid'
  | 'interrupted'
  | 'internal';

export interface ErrorDetails {
  /** The request field at fault, as the caller wrote it (`messages[0].role`). */
  readonly param?: string;
  /** How long to wait before a repeat can succeed. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** A failure with a sentence that tells the mend. The message is shown to callers: no content, no secrets. */
export class UsherError extends Error {
  override readonly name = 'UsherError';
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.param = details.param;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Ends a `switch` over a closed union: a forgotten case does not compile. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
