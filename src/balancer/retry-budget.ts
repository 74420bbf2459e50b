import { BucketWindow } from './bucket-window.ts';

/**
 * How many retries and fallbacks a pool allows: within any ten seconds at most 20 % of the requests
 * active in them, and always three.
 *
 * It counts grants over a window, not retries under way. Counting those under way looks exact and
 * fails when it matters: in an outage that refuses connections at once, retries are never under way
 * for long, and every request would be tried again. A grant that is never used cannot leak, as
 * nothing is reserved. Active are the first attempts of the last ten seconds, or those still in
 * flight where these are more (few new requests, many long answers).
 */

const windowMs = 10_000;
const bucketMs = 1_000;
const share = 0.2;
const floor = 3;

export class RetryBudget {
  readonly #firstAttempts = new BucketWindow(windowMs, bucketMs);
  readonly #granted = new BucketWindow(windowMs, bucketMs);

  firstAttempt(nowMs: number): void {
    this.#firstAttempts.add(1, nowMs);
  }

  /** True is one grant, spent. */
  grant(inFlight: number, nowMs: number): boolean {
    const active = Math.max(inFlight, this.#firstAttempts.total(nowMs));
    if (this.#granted.total(nowMs) + 1 > Math.max(floor, active * share)) return false;
    this.#granted.add(1, nowMs);
    return true;
  }
}
