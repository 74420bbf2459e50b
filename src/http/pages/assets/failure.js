/** Why something did not work, in words that say what to do about it. */
export class Failure extends Error {
  /** @type {string} */
  code;
  /** @type {number} */
  retryAfterMs;

  /**
   * @param {string} code
   * @param {string} message
   * @param {number} [retryAfterMs] 0: nobody knows
   */
  constructor(code, message, retryAfterMs = 0) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** @type {Record<string, string>} */
const words = {
  rate_limit_exceeded: 'That was a lot within a minute. You can go on in a moment.',
  overloaded: 'Many people are asking right now. Please try again in a moment.',
  shutting_down: 'The server is restarting. Please try again in a moment.',
  conversation_locked:
    'An answer in this conversation is still being written, perhaps in another window. Wait for its end, then try again.',
  context_length_exceeded: 'This message is too long for the assistant. Please send a shorter one.',
  backend_unavailable: 'The model cannot be reached right now. Please try again.',
  backend_timeout: 'The model took too long. Please try again.',
  backend_broken: 'The model broke off. Please try again.',
  backend_refused: 'The model did not accept this message. Change it and try again.',
  // As a turn records them: of the model, not of the person.
  rate_limited: 'The model has too much to do right now. Please try again in a moment.',
  context_too_long: 'This conversation is too long for the model. Begin a new one, or send a shorter message.',
  format_broken: 'The model’s answer did not have the form that was asked for. Please try again.',
  storage_full: 'The server cannot keep anything more. Please tell whoever runs it.',
  storage_unavailable: 'The server cannot reach its memory right now. Please try again.',
  interrupted: 'The server stopped while it made this answer. Please try again.',
};

/**
 * @param {string | null | undefined} code
 * @param {string | null | undefined} otherwise
 */
export function inWords(code, otherwise) {
  return words[code ?? ''] ?? (otherwise ? otherwise : 'Something went wrong on the server. Please try again.');
}

/**
 * What a refused request means.
 * @param {Response} response
 * @returns {Promise<Failure>}
 */
export async function failureOf(response) {
  const body = await response.json().catch(() => null);
  const code = body?.error?.code ?? `http_${response.status}`;
  const said = response.status < 500 ? body?.error?.message : undefined;
  const afterMs = Number(response.headers.get('retry-after-ms') ?? 0);
  return new Failure(code, inWords(code, said), Number.isFinite(afterMs) ? afterMs : 0);
}

/** The request did not get through. */
export function unreachable() {
  return navigator.onLine
    ? new Failure('unreachable', 'The server cannot be reached. Check the connection and try again.')
    : new Failure('offline', 'You are offline. Try again when you are connected.');
}

/** The answer ended before its end. */
export function cutOff() {
  return navigator.onLine
    ? new Failure('cut', 'The connection broke before the answer was whole.')
    : new Failure('cut', 'You went offline before the answer was whole.');
}
