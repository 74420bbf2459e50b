import { UsherError } from '#base';
import type { SystemStore, UnstoredTurn } from '#store';
import type { Telemetry } from '#telemetry';

/** What a crash may lose at the most: nobody was promised that these are durable. */
const flushEveryMs = 250;
const batchMax = 500;
/** While the store refuses, the newest are kept up to here, so that memory stays bounded. */
const waitingMax = 20_000;

/**
 * Turns whose content is not kept are recorded in batches: one insert for many, off the hot path.
 */
export class UnstoredTurns {
  #waiting: UnstoredTurn[] = [];
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> = Promise.resolve();
  readonly #store: Pick<SystemStore, 'recordUnstoredTurns'>;
  readonly #telemetry: Telemetry;

  constructor(store: Pick<SystemStore, 'recordUnstoredTurns'>, telemetry: Telemetry) {
    this.#store = store;
    this.#telemetry = telemetry;
  }

  add(turn: UnstoredTurn): void {
    this.#waiting.push(turn);
    if (this.#waiting.length > waitingMax) this.#waiting.shift();
    this.#timer ??= setTimeout(() => void this.flush(), flushEveryMs);
  }

  /** Writes what waits. A failure is reported and the turns wait for the next time. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flushing = this.#flushing.then(() => this.#write());
    await this.#flushing;
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, batchMax);
      try {
        await this.#store.recordUnstoredTurns(batch);
      } catch (error) {
        this.#waiting = [...batch, ...this.#waiting].slice(-waitingMax);
        const code = error instanceof UsherError ? error.code : 'internal';
        this.#telemetry.storeFailed({ operation: 'recordUnstoredTurns', code });
        this.#timer ??= setTimeout(() => void this.flush(), flushEveryMs * 8).unref();
        return;
      }
    }
  }
}
