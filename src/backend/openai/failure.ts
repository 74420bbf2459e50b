import { BackendFailure, type LimitSignal } from '../port.ts';
import { errorCode } from './chunk-reader.ts';

/**
 * Our own sentences for what went wrong. A backend's words never pass: they may quote the prompt,
 * the answer or the key. Names, origins and system error codes do.
 */
export interface Place {
  readonly backend: string;
  readonly origin: string;
}

/** The connection was never there. */
export function connectFailure(place: Place, error: unknown): BackendFailure {
  const code = systemCode(error);
  if (code === 'UND_ERR_CONNECT_TIMEOUT') return timeoutFailure(place, 'connect', undefined);
  return new BackendFailure(
    'connect',
    place.backend,
    `Backend "${place.backend}" cannot be reached at ${place.origin}${code === undefined ? '' : ` (${code})`}: ` +
      'check that it runs there and that this machine may connect to it.',
  );
}

/** The connection broke after the request was on its way. */
export function brokenFailure(place: Place, error: unknown, hasStarted: boolean): BackendFailure {
  const isNotHttp = error instanceof Error && error.name === 'HTTPParserError';
  if (isNotHttp || systemCode(error) === 'UND_ERR_HEADERS_OVERFLOW') {
    return new BackendFailure('garbage', place.backend, `Backend "${place.backend}" answered what is not HTTP.`);
  }
  return new BackendFailure(
    'cut',
    place.backend,
    `Backend "${place.backend}" closed the connection ${hasStarted ? 'in the middle of its answer' : 'before it answered'}.`,
  );
}

export function cutFailure(place: Place): BackendFailure {
  return new BackendFailure(
    'cut',
    place.backend,
    `Backend "${place.backend}" ended its answer without the end marker: the answer is not whole.`,
  );
}

export function garbageFailure(place: Place, what: string): BackendFailure {
  return new BackendFailure(
    'garbage',
    place.backend,
    `Backend "${place.backend}" does not speak the OpenAI wire at ${place.origin}: ${what}. Check its url.`,
  );
}

export function abortedFailure(place: Place): BackendFailure {
  return new BackendFailure('aborted', place.backend, `The request to backend "${place.backend}" was cancelled.`);
}

export type TimeoutStep = 'connect' | 'first token' | 'between tokens' | 'whole';

export function timeoutFailure(place: Place, step: TimeoutStep, ms: number | undefined): BackendFailure {
  const within = ms === undefined ? 'in time' : `within ${Math.round(ms)} ms`;
  const what = {
    connect: `accepted no connection ${within} (connect time-out)`,
    'first token': `sent no first token ${within} (first-token time-out)`,
    'between tokens': `sent no further token ${within} (time-out between tokens)`,
    whole: `did not finish its answer ${within} (whole-answer time-out)`,
  }[step];
  return new BackendFailure('timeout', place.backend, `Backend "${place.backend}" ${what}.`);
}

/** An error told in a body or a stream that began with status 200. */
export function serverFailure(place: Place, code: string | undefined, limits: LimitSignal): BackendFailure {
  return new BackendFailure(
    'server',
    place.backend,
    `Backend "${place.backend}" told an error instead of an answer.`,
    details(200, limits, code),
  );
}

/** A status other than 200, with as much of its body as was read. */
export function statusFailure(place: Place, status: number, body: string, limits: LimitSignal): BackendFailure {
  const code = errorCode(errorOf(body));
  const told = details(status, limits, code);
  const name = `Backend "${place.backend}"`;
  if (status === 429) {
    return new BackendFailure('limited', place.backend, `${name} is at its own limit (status 429).`, told);
  }
  if (status === 401 || status === 403) {
    const mend = `${name} refused the credential (status ${status}): check its API key and what the key may use.`;
    return new BackendFailure('misconfigured', place.backend, mend, told);
  }
  if (status === 404) {
    const mend = `${name} knows no such model or address (status 404): check its url and model.`;
    return new BackendFailure('misconfigured', place.backend, mend, told);
  }
  if (status >= 300 && status < 400) {
    const mend = `${name} answered with a redirect (status ${status}): set its url to the final address.`;
    return new BackendFailure('misconfigured', place.backend, mend, told);
  }
  if (status >= 500 || status === 408 || status === 425) {
    return new BackendFailure('server', place.backend, `${name} failed (status ${status}).`, told);
  }
  if (status >= 400) {
    const why = code === undefined ? `status ${status}` : `status ${status}, ${code}`;
    return new BackendFailure('refused', place.backend, `${name} refused the request (${why}).`, told);
  }
  return new BackendFailure('garbage', place.backend, `${name} answered with status ${status}.`, told);
}

/** The `error` of a body, or the body itself where it is one (`{"object":"error"}`); undefined where there is none. */
export function errorOf(body: string): unknown {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { error, object, detail } = parsed as Record<string, unknown>;
  if (error !== undefined && error !== null) return error;
  return object === 'error' || detail !== undefined ? parsed : undefined;
}

function details(status: number, limits: LimitSignal, code: string | undefined) {
  return { status, limits, ...(code === undefined ? {} : { backendCode: code }) };
}

function systemCode(error: unknown): string | undefined {
  const code = (error as { readonly code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : undefined;
}
