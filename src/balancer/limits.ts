import { BucketWindow } from './bucket-window.ts';
import type { LimitReport } from './port.ts';
import { RequestLog } from './request-log.ts';

/**
 * The request and token limits of one backend.
 *
 * Configured limits hold for every window of 60 s: requests by their exact times, tokens by buckets of
 * a quarter second that are held a bucket too long rather than too short. Tokens are charged when the
 * request is sent (its prompt and the backend's mean answer) and corrected when it ends: too much is
 * given back where it was charged, too little is charged when it becomes known. A request larger than
 * the whole limit is charged the whole limit, so that it waits for an empty window and not for ever.
 *
 * Reported limits (`x-ratelimit-*`) speak of the moment at which the backend counted one request;
 * what was sent after that request is taken off, so a late report never hands out the same allowance
 * twice, and a report older than the last one is dropped. A remainder too small for the request
 * blocks until the reset it named, at most a minute: some name the time at which the allowance is
 * full again, not the time at which one request fits, so after a minute one asks again.
 *
 * A refusal (429) blocks for its `Retry-After`, where that is more than nothing, else for 1 s, doubled
 * up to 30 s by each refusal of a request sent after the one before; a burst refused together counts
 * once. A block is only ever lengthened.
 *
 * What a backend says is bounded here, as one absurd number would poison every later sum.
 */

const minuteMs = 60_000;
const tokenBucketMs = 250;
const reportedBlockMaxMs = minuteMs;
const unnamedResetMs = 1_000;
const refusedFirstMs = 1_000;
const refusedMaxMs = 30_000;
const retryAfterMaxMs = 60 * minuteMs;
/** Before any answer was seen. */
const unmeasuredAnswerTokens = 256;
const answerKept = 0.9;
const answerTokensMax = 10_000_000;

/** What one request was charged, from `charge` until the end. */
export interface LimitCharge {
  readonly atMs: number;
  readonly promptTokens: number;
  /** After capping at the whole limit. */
  readonly tokens: number;
  /** How many requests and tokens had been sent, this one included. */
  readonly sentRequests: number;
  readonly sentTokens: number;
}

export class Limits {
  readonly #requests: RequestLog | undefined;
  readonly #tokens: BucketWindow | undefined;
  readonly #tokensPerMinute: number;
  readonly #reportedRequests = new Reported();
  readonly #reportedTokens = new Reported();
  #sentRequests = 0;
  #sentTokens = 0;
  #answerTokens = unmeasuredAnswerTokens;
  #blockedUntilMs = 0;
  #refusedAtMs = Number.NEGATIVE_INFINITY;
  #refusals = 0;

  constructor(requestsPerMinute: number | undefined, tokensPerMinute: number | undefined) {
    this.#requests = requestsPerMinute === undefined ? undefined : new RequestLog(requestsPerMinute);
    this.#tokens = tokensPerMinute === undefined ? undefined : new BucketWindow(minuteMs, tokenBucketMs);
    this.#tokensPerMinute = tokensPerMinute ?? Number.POSITIVE_INFINITY;
  }

  /** Milliseconds until a request with such a prompt may be sent; 0 is now. */
  waitMs(promptTokens: number, nowMs: number): number {
    let waitMs = this.#blockedUntilMs - nowMs;
    if (this.#requests !== undefined) waitMs = Math.max(waitMs, this.#requests.waitMs(nowMs));
    const tokens = this.#tokensFor(promptTokens);
    if (this.#tokens !== undefined) {
      const over = this.#tokens.total(nowMs) + tokens - this.#tokensPerMinute;
      waitMs = Math.max(waitMs, this.#tokens.untilFreed(over, nowMs));
    }
    waitMs = Math.max(waitMs, this.#reportedRequests.waitMs(1, this.#sentRequests, nowMs));
    waitMs = Math.max(waitMs, this.#reportedTokens.waitMs(tokens, this.#sentTokens, nowMs));
    return Math.max(0, waitMs);
  }

  /** The caller has seen `waitMs` say 0. */
  charge(promptTokens: number, nowMs: number): LimitCharge {
    const tokens = this.#tokensFor(promptTokens);
    this.#requests?.add(nowMs);
    this.#tokens?.add(tokens, nowMs);
    this.#sentRequests += 1;
    this.#sentTokens += tokens;
    return { atMs: nowMs, promptTokens, tokens, sentRequests: this.#sentRequests, sentTokens: this.#sentTokens };
  }

  report(charge: LimitCharge, report: LimitReport, nowMs: number): void {
    const { requestsRemaining, requestsResetMs, tokensRemaining, tokensResetMs } = report;
    this.#reportedRequests.set(charge.sentRequests, requestsRemaining, requestsResetMs, nowMs);
    this.#reportedTokens.set(charge.sentTokens, tokensRemaining, tokensResetMs, nowMs);
  }

  answered(charge: LimitCharge, saidTokens: number, nowMs: number): void {
    const outputTokens = bounded(saidTokens, answerTokensMax);
    this.#refusals = 0;
    this.#answerTokens += (outputTokens - this.#answerTokens) * (1 - answerKept);
    const over = charge.promptTokens + outputTokens - charge.tokens;
    if (over > 0) this.#tokens?.add(over, nowMs);
    else this.#tokens?.takeBack(-over, charge.atMs, nowMs);
  }

  /** 429: the backend served none of it. The request itself stays charged: most count refused ones. */
  refused(charge: LimitCharge, retryAfterMs: number | undefined, nowMs: number): void {
    this.unserved(charge, nowMs);
    if (charge.atMs >= this.#refusedAtMs) {
      this.#refusals += 1;
      this.#refusedAtMs = nowMs;
    }
    const unnamedMs = Math.min(refusedMaxMs, refusedFirstMs * 2 ** (this.#refusals - 1));
    const namedMs = bounded(retryAfterMs ?? 0, retryAfterMaxMs);
    const blockMs = namedMs > 0 ? namedMs : unnamedMs;
    this.#blockedUntilMs = Math.max(this.#blockedUntilMs, nowMs + blockMs);
  }

  /** No token was spent. */
  unserved(charge: LimitCharge, nowMs: number): void {
    this.#tokens?.takeBack(charge.tokens, charge.atMs, nowMs);
  }

  #tokensFor(promptTokens: number): number {
    return Math.min(this.#tokensPerMinute, Math.ceil(promptTokens + this.#answerTokens));
  }
}

/** The last remainder that a backend reported, of requests or of tokens. */
class Reported {
  #remaining = Number.POSITIVE_INFINITY;
  #untilMs = 0;
  /** How much had been sent up to the request that brought the report. */
  #sent = 0;

  set(sent: number, remaining: number | undefined, resetMs: number | undefined, nowMs: number): void {
    if (remaining === undefined || Number.isNaN(remaining) || sent < this.#sent) return;
    this.#sent = sent;
    this.#remaining = remaining;
    this.#untilMs = nowMs + bounded(resetMs ?? unnamedResetMs, reportedBlockMaxMs);
  }

  waitMs(needed: number, sent: number, nowMs: number): number {
    if (nowMs >= this.#untilMs) return 0;
    return this.#remaining - (sent - this.#sent) >= needed ? 0 : this.#untilMs - nowMs;
  }
}

/** Within 0 and `max`; what is not a number is 0. */
function bounded(value: number, max: number): number {
  return value >= 0 ? Math.min(value, max) : 0;
}
