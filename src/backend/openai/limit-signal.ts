import type { IncomingHttpHeaders } from 'node:http';
import type { LimitSignal } from '../port.ts';

/** A limit that says "next year" is a fault of the sender: no wait is believed beyond this. */
const longestWaitMs = 24 * 60 * 60 * 1000;
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * What response headers say of a backend's limits. `x-ratelimit-*` as OpenAI, Azure, Groq and vLLM
 * gateways send them; `retry-after-ms` (Azure) before `retry-after` (RFC 9110, seconds or a date).
 * What cannot be read is left out.
 */
export function limitSignal(headers: IncomingHttpHeaders, wallMs: number): LimitSignal {
  const signal: { -readonly [Key in keyof LimitSignal]: LimitSignal[Key] } = {};
  const requestsRemaining = count(headers['x-ratelimit-remaining-requests']);
  if (requestsRemaining !== undefined) signal.requestsRemaining = requestsRemaining;
  const tokensRemaining = count(headers['x-ratelimit-remaining-tokens']);
  if (tokensRemaining !== undefined) signal.tokensRemaining = tokensRemaining;
  const requestsResetMs = durationMs(text(headers['x-ratelimit-reset-requests']), wallMs);
  if (requestsResetMs !== undefined) signal.requestsResetMs = requestsResetMs;
  const tokensResetMs = durationMs(text(headers['x-ratelimit-reset-tokens']), wallMs);
  if (tokensResetMs !== undefined) signal.tokensResetMs = tokensResetMs;
  const retryAfterMs =
    bounded(number(text(headers['retry-after-ms']))) ?? durationMs(text(headers['retry-after']), wallMs);
  if (retryAfterMs !== undefined) signal.retryAfterMs = retryAfterMs;
  return signal;
}

/** `6m0s`, `120ms`, `1h2m3.5s`, plain seconds, an epoch time or an HTTP date; milliseconds from `wallMs` on. */
export function durationMs(value: string | undefined, wallMs: number): number | undefined {
  if (value === undefined || value === '') return undefined;
  const plain = number(value);
  if (plain !== undefined) return bounded(fromNumber(plain, wallMs));
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length > 0 && parts.map((part) => part[0]).join('') === value) {
    return bounded(parts.reduce((sum, part) => sum + Number(part[1]) * unitMs[part[2]!]!, 0));
  }
  const date = /[a-z]{3}|T/i.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : bounded(date - wallMs);
}

/** Numbers too large for a wait are epoch seconds or epoch milliseconds. */
function fromNumber(plain: number, wallMs: number): number {
  if (plain > 1e11) return plain - wallMs;
  if (plain > 1e8) return plain * 1_000 - wallMs;
  return plain * 1_000;
}

function bounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.min(Math.max(Math.ceil(ms), 0), longestWaitMs);
}

function number(value: string | undefined): number | undefined {
  return value !== undefined && /^\d+(?:\.\d+)?$/.test(value) ? Number(value) : undefined;
}

function count(value: string | string[] | undefined): number | undefined {
  const parsed = number(text(value));
  return parsed === undefined ? undefined : Math.floor(parsed);
}

function text(value: string | string[] | undefined): string | undefined {
  return (Array.isArray(value) ? value[0] : value)?.trim();
}
