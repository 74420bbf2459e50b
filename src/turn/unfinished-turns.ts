import { UsherError, type Id } from '#base';
import type { Reach } from '#access';
import type { Store, TurnFinish } from '#store';
import type { Telemetry } from '#telemetry';

const retryEveryMs = 1000;
/** Beyond these the oldest are left to the sweep of turns whose lease is over. */
const waitingMax = 10_000;

interface Unfinished {
  readonly reach: Reach;
  readonly finish: TurnFinish;
}

/**
 * Turns that began, or may have, and whose end the store could not take: a full disk, a database
 * away for a moment. Each is recorded as failed as soon as the store can, so that its conversation
 * takes the next message then, and not only when the lease is over.
 */
export class UnfinishedTurns {
  readonly #waiting = new Map<Id<'turn'>, Unfinished>();
  readonly #store: Pick<Store, 'reach'>;
  readonly #telemetry: Telemetry;
  #timer: NodeJS.Timeout | undefined;

  constructor(store: Pick<Store, 'reach'>, telemetry: Telemetry) {
    this.#store = store;
    this.#telemetry = telemetry;
  }

  /** `error` is why the store did not take its end; it becomes the code of the failed turn. */
  add(
    reach: Reach,
    id: Id<'turn'>,
    { usage, backend, finishedAtMs }: Omit<TurnFinish, 'outcome'>,
    error: UsherError,
  ): void {
    const outcome = { state: 'failed', code: error.code, message: error.message } as const;
    this.#waiting.set(id, { reach, finish: { outcome, usage, backend, finishedAtMs } });
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > waitingMax && oldest !== undefined) this.#waiting.delete(oldest);
    this.#schedule();
  }

  /** Tries each once; those that the store refuses again wait for the next time. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [id, { reach, finish }] of this.#waiting) {
      try {
        // False where it never began, or did end after all: either way nothing is left to do.
        await this.#store.reach(reach).finishTurn(id, finish, []);
        this.#waiting.delete(id);
      } catch (error) {
        const code = error instanceof UsherError ? error.code : 'internal';
        this.#telemetry.storeFailed({ operation: 'finishTurn', code });
        this.#schedule();
        return;
      }
    }
  }

  #schedule(): void {
    // Not kept alive for it: the next start finds the turn too.
    this.#timer ??= setTimeout(() => void this.flush(), retryEveryMs).unref();
  }
}
