const minuteMs = 60_000;

/**
 * The times of the last `perMinute` requests: one more is allowed exactly when the oldest of them is
 * a minute old, so no window of 60 s ever holds more. Eight bytes a request, grown only as needed.
 */
export class RequestLog {
  readonly #perMinute: number;
  #times = new Float64Array(0);
  /** Where the next time goes; once the log is full, also where the oldest is. */
  #next = 0;
  #count = 0;

  constructor(perMinute: number) {
    this.#perMinute = Math.max(1, Math.floor(perMinute));
  }

  /**
   * Milliseconds until one more request is allowed; 0 is now.
   * @param kept requests a minute that stay free beside it; less than `perMinute`
   */
  waitMs(nowMs: number, kept = 0): number {
    if (this.#count + kept < this.#perMinute) return 0;
    // Times wrap at the limit, so this is the one after the `kept` oldest, full or not.
    return Math.max(0, this.#times[(this.#next + kept) % this.#perMinute]! + minuteMs - nowMs);
  }

  add(nowMs: number): void {
    if (this.#count === this.#times.length && this.#count < this.#perMinute) this.#grow();
    this.#times[this.#next] = nowMs;
    this.#next = (this.#next + 1) % this.#perMinute;
    this.#count = Math.min(this.#count + 1, this.#perMinute);
  }

  /** Only ever grows before the first wrap, while times lie in order from 0. */
  #grow(): void {
    const grown = new Float64Array(Math.min(this.#perMinute, Math.max(8, this.#times.length * 2)));
    grown.set(this.#times);
    this.#times = grown;
  }
}
