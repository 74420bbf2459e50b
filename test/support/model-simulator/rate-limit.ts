/** One allowance that refills continuously: a minute's worth at most. */
class Allowance {
  readonly perMinute: number;
  #level: number;
  #atMs: number;

  constructor(perMinute: number, nowMs: number) {
    this.perMinute = perMinute;
    this.#level = perMinute;
    this.#atMs = nowMs;
  }

  remaining(nowMs: number): number {
    const refilled = this.#level + ((nowMs - this.#atMs) * this.perMinute) / 60_000;
    this.#level = Math.min(this.perMinute, refilled);
    this.#atMs = nowMs;
    return this.#level;
  }

  take(amount: number): void {
    this.#level -= amount;
  }

  /** Time until `amount` is there. */
  waitMs(amount: number): number {
    return Math.max(0, ((amount - this.#level) * 60_000) / this.perMinute);
  }
}

export interface LimitVerdict {
  /** Undefined: admitted. */
  readonly refusedBy: 'requests' | 'tokens' | undefined;
  readonly waitMs: number;
  /** The `x-ratelimit-*` headers, and `retry-after` where refused. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Requests and tokens a minute for each API key, as OpenAI counts them: a call is charged its
 * prompt and its `max_tokens` before it runs, and a refused call takes nothing.
 */
export class RateLimit {
  readonly #requestsPerMinute: number;
  readonly #tokensPerMinute: number;
  readonly #keys = new Map<string, { requests: Allowance; tokens: Allowance }>();

  constructor(requestsPerMinute: number, tokensPerMinute: number) {
    this.#requestsPerMinute = requestsPerMinute;
    this.#tokensPerMinute = tokensPerMinute;
  }

  /** `nowMs` is monotonic. */
  admit(key: string, tokens: number, nowMs: number): LimitVerdict {
    const allowances = this.#of(key, nowMs);
    const checks = [
      { name: 'requests' as const, allowance: allowances.requests, amount: 1 },
      { name: 'tokens' as const, allowance: allowances.tokens, amount: tokens },
    ].filter((check) => check.allowance.perMinute > 0);
    const short = checks.find((check) => check.allowance.remaining(nowMs) < check.amount);
    const waitMs = Math.max(0, ...checks.map((check) => check.allowance.waitMs(check.amount)));
    const headers: Record<string, string> = {};
    for (const { name, allowance, amount } of checks) {
      if (short === undefined) allowance.take(amount);
      headers[`x-ratelimit-limit-${name}`] = String(allowance.perMinute);
      headers[`x-ratelimit-remaining-${name}`] = String(Math.max(0, Math.floor(allowance.remaining(nowMs))));
      headers[`x-ratelimit-reset-${name}`] = formatDuration(allowance.waitMs(allowance.perMinute));
    }
    if (short !== undefined) {
      headers['retry-after'] = String(Math.ceil(waitMs / 1000));
      headers['retry-after-ms'] = String(Math.ceil(waitMs));
    }
    return { refusedBy: short?.name, waitMs, headers };
  }

  #of(key: string, nowMs: number): { requests: Allowance; tokens: Allowance } {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const fresh = {
      requests: new Allowance(this.#requestsPerMinute, nowMs),
      tokens: new Allowance(this.#tokensPerMinute, nowMs),
    };
    this.#keys.set(key, fresh);
    return fresh;
  }
}

/** OpenAI's own form: `20ms`, `1.5s`, `6m0s`. */
export function formatDuration(durationMs: number): string {
  const wholeMs = Math.ceil(durationMs);
  if (wholeMs < 1000) return `${wholeMs}ms`;
  const seconds = (wholeMs % 60_000) / 1000;
  const minutes = Math.floor(wholeMs / 60_000);
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds}s`;
}
