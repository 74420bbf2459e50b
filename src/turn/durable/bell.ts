/**
 * Waits for a change, again and again. A promise of change may stay pending for hours, and keeps
 * whatever listens to it: each is listened to once.
 */
export class Bell {
  #changed: Promise<void> | undefined;
  #hasChanged = false;
  #ring: () => void = () => {};

  /** Settles when `changed` has, after `mostMs`, or when `signal` aborts, whichever is first. */
  async wait(changed: Promise<void> | undefined, mostMs: number, signal: AbortSignal): Promise<void> {
    if (changed !== this.#changed) this.#listen(changed);
    if (this.#hasChanged || signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ring = resolve;
    const timer = setTimeout(resolve, mostMs);
    signal.addEventListener('abort', this.#onAbort, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => this.#ring();

  #listen(changed: Promise<void> | undefined): void {
    this.#changed = changed;
    this.#hasChanged = false;
    if (changed !== undefined) void this.#ringAfter(changed);
  }

  async #ringAfter(changed: Promise<void>): Promise<void> {
    await changed;
    if (this.#changed !== changed) return;
    this.#hasChanged = true;
    this.#ring();
  }
}
