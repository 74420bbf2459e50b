/**
 * The client of one request, who may leave at any moment. Whoever serves it waits only through
 * here, so that leaving wakes the waiter at once. One waiter at a time.
 */
export class Visitor {
  #gone = false;
  #wake: (() => void) | undefined;

  get gone(): boolean {
    return this.#gone;
  }

  leave(): void {
    this.#gone = true;
    this.wake();
  }

  /** Ends the wait in progress, if any. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Waits until woken. */
  wait(): Promise<void> {
    if (this.#gone) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async sleep(durationMs: number): Promise<void> {
    const timer = setTimeout(() => this.wake(), durationMs);
    await this.wait();
    clearTimeout(timer);
  }
}
