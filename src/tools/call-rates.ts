import { LRUCache } from 'lru-cache';

const windowMs = 60_000;
/** Pairs of person and tool remembered at once; the one longest idle starts afresh. */
const pairsMax = 50_000;

/** Calls of each person to each tool within a minute. Exact within one process. */
export class CallRates {
  readonly #calls = new LRUCache<string, number[]>({ max: pairsMax });

  /** Charges a call. Milliseconds to wait where it is one too many; 0 where it is not. */
  admit(pair: string, perMinute: number, nowMs: number): number {
    const recent = (this.#calls.get(pair) ?? []).filter((atMs) => atMs > nowMs - windowMs);
    this.#calls.set(pair, recent);
    const over = recent.length - perMinute;
    if (over >= 0) return recent[over]! + windowMs - nowMs;
    recent.push(nowMs);
    return 0;
  }
}
