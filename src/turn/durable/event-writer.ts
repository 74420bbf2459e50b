import { UsherError, type Id } from '#base';
import type { EventBatch, SystemStore } from '#store';
import type { Telemetry } from '#telemetry';

/**
 * Deltas of a turn become durable together, this long after the first of them: sooner where somebody
 * hears them from the store. Each flush costs a node about as much as relaying ten chunks.
 */
const flushMs = { followed: 200, alone: 500 } as const;

/** A turn whose events are written. */
export interface EventSource {
  readonly turn: Id<'turn'>;
  /** Whether somebody hears its events from the store. */
  readonly isFollowed: boolean;
  /** What is not durable, as one batch; undefined for nothing. It is not asked again before `settled`. */
  take(): EventBatch | undefined;
  /** What became of the batch: written, or refused since another node holds the turn. */
  settled(result: 'written' | 'refused'): void;
  /** The store could not take the batch: it is tried again, unless its source is forgotten by that. */
  failed(error: UsherError): void;
  /** It was asked of another node that this turn stop. */
  cancelAsked(): void;
}

/**
 * Writes the events of all turns of this node, many turns in one transaction: one write is under
 * way at most, and what comes meanwhile forms the next. So a busy node pays one commit for many
 * turns, and a lone event of a quiet one waits for nobody.
 */
export class EventWriter {
  readonly #store: Pick<SystemStore, 'appendEvents'>;
  readonly #telemetry: Telemetry;
  #dirty = new Set<EventSource>();
  #timer: { readonly timeout: NodeJS.Timeout; readonly ms: number } | undefined;
  #isUrgent = false;
  #isWriting = false;

  constructor(store: Pick<SystemStore, 'appendEvents'>, telemetry: Telemetry) {
    this.#store = store;
    this.#telemetry = telemetry;
  }

  /** Together with others, within `flushMs`. */
  soon(source: EventSource): void {
    this.#dirty.add(source);
    this.#startWithin(source.isFollowed ? flushMs.followed : flushMs.alone);
  }

  /** As soon as the write under way is done; with all that others have waiting. */
  now(source: EventSource): void {
    this.#dirty.add(source);
    if (this.#isUrgent) return;
    this.#isUrgent = true;
    if (!this.#isWriting) queueMicrotask(this.#start);
  }

  forget(source: EventSource): void {
    this.#dirty.delete(source);
  }

  #startWithin(ms: number): void {
    if (this.#timer !== undefined && this.#timer.ms <= ms) return;
    clearTimeout(this.#timer?.timeout);
    this.#timer = { timeout: setTimeout(this.#start, ms), ms };
  }

  readonly #start = (): void => {
    clearTimeout(this.#timer?.timeout);
    this.#timer = undefined;
    if (this.#isWriting) return;
    this.#isUrgent = false;
    this.#isWriting = true;
    void this.#write();
  };

  async #write(): Promise<void> {
    const sources = [...this.#dirty];
    this.#dirty = new Set();
    const taken = sources.flatMap((source) => {
      const batch = source.take();
      return batch === undefined ? [] : [{ source, batch }];
    });
    const isAgain = taken.length > 0 && !(await this.#append(taken));
    this.#isWriting = false;
    // A store that refuses is asked again at its own pace, not at that of those who wait.
    if (isAgain) this.#isUrgent = false;
    if (this.#isUrgent) this.#start();
    else if (this.#dirty.size > 0) this.#startWithin(flushMs.followed);
  }

  /** Answers whether the store took them. */
  async #append(taken: readonly { readonly source: EventSource; readonly batch: EventBatch }[]): Promise<boolean> {
    try {
      const held = await this.#store.appendEvents(taken.map(({ batch }) => batch));
      // A node that took its own turn over may have batches of both epochs.
      const byRun = new Map(held.map((run) => [`${run.turn}/${run.epoch}`, run]));
      for (const { source, batch } of taken) {
        const own = byRun.get(`${batch.turn}/${batch.epoch}`);
        if (own === undefined) this.#telemetry.staleWriteRefused({ turn: source.turn });
        source.settled(own === undefined ? 'refused' : 'written');
        if (own?.cancelAsked === true) source.cancelAsked();
      }
      return true;
    } catch (error) {
      const failure = error instanceof UsherError ? error : new UsherError('internal', 'The store failed.');
      this.#telemetry.storeFailed({ operation: 'appendEvents', code: failure.code });
      for (const { source } of taken) {
        this.#dirty.add(source);
        source.failed(failure);
      }
      return false;
    }
  }
}
