import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { UsherError } from '#base';

export interface BodyLimits {
  readonly bodyBytes: number;
  readonly jsonDepth: number;
  /** From the first look at the body to its last byte. */
  readonly bodyTimeoutMs: number;
}

/**
 * The declared length and coding, before a byte of the body is read.
 * @throws UsherError `too_large`, `unsupported_media_type`
 */
export function checkDeclaredBody(request: IncomingMessage, limits: BodyLimits): void {
  const { headers } = request;
  if (Number(headers['content-length'] ?? 0) > limits.bodyBytes) throw tooLarge(limits);
  const coding = headers['content-encoding'];
  if (coding !== undefined && coding !== 'identity') {
    throw new UsherError('unsupported_media_type', 'Compressed bodies are not accepted; send it as plain JSON.');
  }
}

/**
 * The parsed body, undefined where it is empty.
 * @param valuesMax commas and brackets at the most
 * @throws UsherError as `Exchange.json` says
 */
export async function readJson(
  request: IncomingMessage,
  limits: BodyLimits,
  valuesMax: number,
  signal: AbortSignal,
): Promise<unknown> {
  const bytes = await readBytes(request, limits, signal);
  if (bytes.length === 0) return undefined;
  if (!/^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw new UsherError('unsupported_media_type', 'Send the body as JSON with `Content-Type: application/json`.');
  }
  if (!isUtf8(bytes)) throw new UsherError('invalid_request', 'The body is not valid UTF-8.');
  return parseJson(bytes.toString('utf8'), limits.jsonDepth, valuesMax);
}

function readBytes(request: IncomingMessage, limits: BodyLimits, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const settle = (error?: unknown): void => {
      clearTimeout(timer);
      request.off('data', onData).off('end', settle).off('error', onError);
      signal.removeEventListener('abort', onError);
      if (error === undefined) resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length));
      else reject(error instanceof Error ? error : new UsherError('client_gone', 'The caller left.'));
    };
    const onError = (): void => settle(signal.reason ?? new UsherError('client_gone', 'The caller left.'));
    const onData = (chunk: Buffer): void => {
      length += chunk.length;
      if (length > limits.bodyBytes) {
        request.pause();
        settle(tooLarge(limits));
      } else chunks.push(chunk);
    };
    const timer = setTimeout(() => {
      request.pause();
      settle(new UsherError('request_timeout', 'The body did not arrive in time; send it again.'));
    }, limits.bodyTimeoutMs);
    if (signal.aborted) return onError();
    signal.addEventListener('abort', onError);
    request.on('data', onData).on('end', settle).on('error', onError);
  });
}

function tooLarge(limits: BodyLimits): UsherError {
  return new UsherError('too_large', `The body is larger than the ${limits.bodyBytes} bytes that are accepted.`);
}

/**
 * Commas and brackets of one body at the most. A value takes two bytes to send and hundreds to hold
 * and check: without a bound 10 MB of `0,0,0` took gigabytes. An application may send a conversation
 * of 5,000 messages; a person, or nobody in particular, sends a message or two, and checking the
 * wrong values of a larger body cost 0.4 s.
 */
export const valuesMaxOf = { application: 50_000, person: 2_000 } as const;

/** JSON whose depth and number of values are bounded and that holds no key that could reach a prototype. */
export function parseJson(text: string, depthMax: number, valuesMax: number): unknown {
  checkShape(text, depthMax, valuesMax);
  try {
    return mayNamePrototype(text) ? JSON.parse(text, refusePrototype) : JSON.parse(text);
  } catch (error) {
    if (error instanceof UsherError) throw error;
    throw new UsherError('invalid_request', 'The body is not valid JSON; check its commas, quotes and brackets.');
  }
}

/**
 * Depth and number of values, before anything is allocated for them. Strings, the bulk of a chat's
 * bytes, are leapt over by a native search for their end.
 */
function checkShape(text: string, depthMax: number, valuesMax: number): void {
  let depth = 0;
  let marks = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === 0x22) {
      at = endOfString(text, at);
    } else if (unit === 0x5b || unit === 0x7b) {
      depth += 1;
      marks += 1;
      if (depth > depthMax) throw tooDeep(depthMax);
    } else if (unit === 0x5d || unit === 0x7d) depth -= 1;
    else if (unit === 0x2c) marks += 1;
    if (marks > valuesMax) throw tooMany(valuesMax);
  }
}

function tooDeep(depthMax: number): UsherError {
  return new UsherError('invalid_request', `The body is nested deeper than ${depthMax} levels; flatten it.`);
}

function tooMany(valuesMax: number): UsherError {
  return new UsherError('too_large', `The body holds more than ${valuesMax} values; send less at once.`);
}

/** Index of the closing quote: the first with an even run of backslashes before it; text.length where there is none. */
function endOfString(text: string, open: number): number {
  for (let at = text.indexOf('"', open + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
  return text.length;
}

/** Spelt out, or perhaps with escapes of ASCII letters, which the parser alone can tell. */
function mayNamePrototype(text: string): boolean {
  return text.includes('__proto__') || /\\u00[567]/i.test(text);
}

function refusePrototype(key: string, value: unknown): unknown {
  if (key === '__proto__') {
    throw new UsherError('invalid_request', 'The key `__proto__` is not accepted; name it otherwise.', { param: key });
  }
  return value;
}
