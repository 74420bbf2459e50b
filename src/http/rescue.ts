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
  /** What it means and what to do, for the reference. The message of a refusal says more. */
  readonly mend: string;
}

const rescues = {
  invalid_request: {
    status: 400,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'The request is not what the route reads. Mend the field that `param` names.',
  },
  invalid_credentials: {
    status: 401,
    type: 'authentication_error',
    wireCode: 'invalid_api_key',
    repeat: false,
    mend: 'No key or token was sent, or it is wrong, revoked or has ended. Send one that holds.',
  },
  forbidden: {
    status: 403,
    type: 'permission_error',
    repeat: false,
    mend: 'The caller is known and may not do this. Use a key with the scope that the message names.',
  },
  not_found: {
    status: 404,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'There is no such thing, or it is not the caller’s. Check the id and whose key it is.',
  },
  model_not_found: {
    status: 404,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'No assistant, environment, release or embedding model here has this name. `GET /v1/models` lists what there is.',
  },
  previous_response_not_found: {
    status: 400,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'The response to go on from was deleted, was not stored, or is not the caller’s. Send what was said as `input`.',
  },
  method_not_allowed: {
    status: 405,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'The path exists, the method does not. `Allow` names those that do.',
  },
  conflict: {
    status: 409,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'It contradicts what is there already. Read it again and decide.',
  },
  conversation_locked: {
    status: 400,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'A turn of this conversation is running. Wait for its end, or stop it.',
  },
  request_timeout: {
    status: 408,
    type: 'invalid_request_error',
    repeat: true,
    mend: 'The request did not arrive whole in time. Send it again.',
  },
  too_large: {
    status: 413,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'The body or the message is longer than is accepted. Shorten it.',
  },
  unsupported_media_type: {
    status: 415,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'Send JSON with `Content-Type: application/json`, not compressed.',
  },
  context_too_long: {
    status: 400,
    type: 'invalid_request_error',
    wireCode: 'context_length_exceeded',
    repeat: false,
    mend: 'What is said does not fit into the model’s context. Shorten it, or start a new conversation.',
  },
  rate_limited: {
    status: 429,
    type: 'rate_limit_error',
    wireCode: 'rate_limit_exceeded',
    repeat: true,
    mend: 'A limit of requests or tokens is reached. Wait as long as `Retry-After` says.',
  },
  overloaded: {
    status: 503,
    type: 'server_error',
    repeat: true,
    mend: 'Every place is taken. Wait as long as `Retry-After` says.',
  },
  shutting_down: {
    status: 503,
    type: 'server_error',
    repeat: true,
    mend: 'The node is stopping. Repeat; another takes it.',
  },
  not_ready: {
    status: 503,
    type: 'server_error',
    repeat: true,
    mend: 'The node does not know yet what to serve. Repeat; the owner starts a node with the role `control`.',
  },
  /** Never seen by a client; the status is for the log (the number is nginx's). */
  client_gone: {
    status: 499,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'The caller left before the answer; seen in logs only.',
  },
  /** The model's server finds fault with the request itself, so it is the caller's to mend. */
  backend_refused: {
    status: 400,
    type: 'invalid_request_error',
    repeat: false,
    mend: 'The model’s server finds the request invalid. Check parameters and tools.',
  },
  backend_unavailable: {
    status: 503,
    type: 'server_error',
    repeat: true,
    mend: 'No model backend can be reached. Repeat later; the owner runs `usher doctor`.',
  },
  backend_timeout: {
    status: 504,
    type: 'server_error',
    repeat: true,
    mend: 'The model did not answer in time. Repeat.',
  },
  backend_broken: { status: 502, type: 'server_error', repeat: true, mend: 'The model broke off its answer. Repeat.' },
  format_broken: {
    status: 502,
    type: 'server_error',
    repeat: true,
    mend: 'The model’s answer did not keep to the format asked for, and its repair neither. Repeat, or ask for a simpler one.',
  },
  storage_full: {
    status: 507,
    type: 'server_error',
    repeat: false,
    mend: 'The disk or database is full: nothing is stored. The owner makes room; what was stored can be read.',
  },
  storage_unavailable: {
    status: 503,
    type: 'server_error',
    repeat: true,
    mend: 'The database does not answer. Repeat later; the owner runs `usher doctor`.',
  },
  data_damaged: {
    status: 500,
    type: 'server_error',
    repeat: false,
    mend: 'What was stored cannot be read. The owner restores it; the log names it by the request id.',
  },
  config_invalid: {
    status: 500,
    type: 'server_error',
    repeat: false,
    mend: 'The configuration does not hold. The owner runs `usher config check`.',
  },
  interrupted: {
    status: 500,
    type: 'server_error',
    repeat: true,
    mend: 'The node stopped while it answered. Send the message again.',
  },
  internal: {
    status: 500,
    type: 'server_error',
    repeat: false,
    mend: 'A defect of the server. The log tells more by the request id.',
  },
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

/** Every code with what a caller gets and may do, for the reference. */
export function errorDescriptions(): readonly (Required<Rescue> & { readonly code: ErrorCode })[] {
  return Object.entries<Rescue>(rescues).map(([code, { status, type, wireCode = code, repeat, mend }]) => {
    return { code: code as ErrorCode, status, type, wireCode, repeat, mend };
  });
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
