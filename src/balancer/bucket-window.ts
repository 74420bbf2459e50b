/**
 * Amounts of the recent past, in a ring of equal buckets.
 *
 * An amount is held for at least `spanMs` and at most one bucket longer, so the total is never less
 * than what any window of `spanMs` that ends now really saw: a limit kept by it is never overshot,
 * and an outage cannot hide in it. Rejected: a decaying average (it remembers an old success for
 * ever and hides a total outage) and a fixed minute (it lets twice the limit through at the turn of
 * the minute). Memory is constant. Time that runs backwards counts as the latest time seen.
 */
export class BucketWindow {
  readonly #bucketMs: number;
  readonly #buckets: Float64Array;
  #headIndex = Number.NEGATIVE_INFINITY;
  #total = 0;

  constructor(spanMs: number, bucketMs: number) {
    this.#bucketMs = bucketMs;
    this.#buckets = new Float64Array(Math.ceil(spanMs / bucketMs) + 1);
  }

  add(amount: number, nowMs: number): void {
    this.#advance(nowMs);
    const slot = this.#slot(this.#headIndex);
    this.#buckets[slot] = this.#buckets[slot]! + amount;
    this.#total += amount;
  }

  /** Takes back up to `amount` of what was added at `atMs`; nothing where that has left the window. */
  takeBack(amount: number, atMs: number, nowMs: number): void {
    this.#advance(nowMs);
    const index = Math.floor(atMs / this.#bucketMs);
    if (index > this.#headIndex || index <= this.#headIndex - this.#buckets.length) return;
    const slot = this.#slot(index);
    const taken = Math.min(amount, this.#buckets[slot]!);
    this.#buckets[slot] = this.#buckets[slot]! - taken;
    this.#total -= taken;
  }

  total(nowMs: number): number {
    this.#advance(nowMs);
    return this.#total;
  }

  /** Milliseconds until at least `amount` of the total has left; Infinity where the total is less. */
  untilFreed(amount: number, nowMs: number): number {
    if (amount <= 0) return 0;
    this.#advance(nowMs);
    let freed = 0;
    for (let index = this.#headIndex - this.#buckets.length + 1; index <= this.#headIndex; index += 1) {
      freed += this.#buckets[this.#slot(index)]!;
      if (freed >= amount) return (index + this.#buckets.length) * this.#bucketMs - nowMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  clear(): void {
    this.#buckets.fill(0);
    this.#total = 0;
  }

  #advance(nowMs: number): void {
    const index = Math.floor(nowMs / this.#bucketMs);
    if (index <= this.#headIndex) return;
    if (index - this.#headIndex >= this.#buckets.length) {
      this.clear();
    } else {
      for (let passed = this.#headIndex + 1; passed <= index; passed += 1) {
        const slot = this.#slot(passed);
        this.#total -= this.#buckets[slot]!;
        this.#buckets[slot] = 0;
      }
    }
    this.#headIndex = index;
  }

  #slot(index: number): number {
    const length = this.#buckets.length;
    return ((index % length) + length) % length;
  }
}
