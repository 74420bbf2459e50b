import { UsherError, type ErrorCode } from '#base';

/** How one code looks on the wire. `wireCode` where OpenAI's clients already know a word for it. */
interface Rescue {
  readonly status: number;
  readonly type:
    | 'invalid_request_error'
    | 'authentication_error'
    | 'permission_error'
    | 'rate_limit_error'
    | 'server_error';
  readonly wireCode?: string;
  /** Clients repeat 408, 409, 429 and 5xx by themselves: false where a repeat cannot succeed or may do harm. */
  readonly repeat: boolean;
}

const rescues = {
  invalid_request: { status: 400, type: 'invalid_request_error', repeat: false },
  invalid_credentials: { status: 401, type: 'authentication_error', wireCode: 'invalid_api_key', repeat: false },
  forbidden: { status: 403, type: 'permission_error', repeat: false },
  not_found: { status: 404, type: 'invalid_request_error', repeat: false },
  method_not_allowed: { status: 405, type: 'invalid_request_error', repeat: false },
  conflict: { status: 409, type: 'invalid_request_error', repeat: false },
  conversation_locked: { status: 400, type: 'invalid_request_error', repeat: false },
  request_timeout: { status: 408, type: 'invalid_request_error', repeat: true },
  too_large: { status: 413, type: 'invalid_request_error', repeat: false },
  unsupported_media_type: { status: 415, type: 'invalid_request_error', repeat: false },
  context_too_long: {
    status: 400,
    type: 'invalid_request_error',
    wireCode: 'context_length_exceeded',
    repeat: false,
  },
  rate_limited: { status: 429, type: 'rate_limit_error', wireCode: 'rate_limit_exceeded', repeat: true },
  overloaded: { status: 503, type: 'server_error', repeat: true },
  shutting_down: { status: 503, type: 'server_error', repeat: true },
  /** Never seen by a client; the status is for the log (the number is nginx's). */
  client_gone: { status: 499, type: 'invalid_request_error', repeat: false },
  /** The model's server finds fault with the request itself, so it is the caller's to mend. */
  backend_refused: { status: 400, type: 'invalid_request_error', repeat: false },
  backend_unavailable: { status: 503, type: 'server_error', repeat: true },
  backend_timeout: { status: 504, type: 'server_error', repeat: true },
  backend_broken: { status: 502, type: 'server_error', repeat: true },
  storage_full: { status: 507, type: 'server_error', repeat: false },
  storage_unavailable: { status: 503, type: 'server_error', repeat: true },
  data_damaged: { status: 500, type: 'server_error', repeat: false },
  config_invalid: { status: 500, type: 'server_error', repeat: false },
  interrupted: { status: 500, type: 'server_error', repeat: true },
  internal: { status: 500, type: 'server_error', repeat: false },
} as const satisfies Record<ErrorCode, Rescue>;

/** The body of every refusal, as OpenAI's clients expect it. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

export interface Rescued {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: ErrorBody;
}

/** The OpenAI error object of a code, for bodies and for error events within a stream. */
export function errorBody(code: ErrorCode, message: string, param: string | null = null): ErrorBody {
  const { type, wireCode }: Rescue = rescues[code];
  return { error: { message, type, param, code: wireCode ?? code } };
}

/**
 * What a failure looks like on the wire: status, headers and the OpenAI error object. From 500 up
 * the body says the code and the request id alone. Anything but an UsherError is `internal`.
 */
export function rescue(error: unknown, requestId: string): Rescued {
  const known = error instanceof UsherError ? error : undefined;
  const code = known?.code ?? 'internal';
  const { status, repeat }: Rescue = rescues[code];
  const body =
    known === undefined || status >= 500
      ? errorBody(code, `The request failed with ${code}; its id in the log is ${requestId}.`)
      : errorBody(code, known.message, known.param);
  return { status, headers: headersOf(status, repeat, known?.retryAfterMs), body };
}

function headersOf(status: number, repeat: boolean, retryAfterMs: number | undefined): [string, string][] {
  const headers: [string, string][] = [];
  if (!repeat) headers.push(['x-should-retry', 'false']);
  if (repeat && retryAfterMs !== undefined) {
    const waitMs = Math.max(0, Math.ceil(retryAfterMs));
    headers.push(['retry-after', String(Math.ceil(waitMs / 1000))], ['retry-after-ms', String(waitMs)]);
  }
  if (status === 401) headers.push(['www-authenticate', 'Bearer realm="usher"']);
  return headers;
}
