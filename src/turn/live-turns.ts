import type { Id } from '#base';
import type { Audience } from './audience.ts';

/** A stored turn that this node runs. */
export class LiveTurn {
  readonly audience: Audience;
  readonly #cancelled = new AbortController();
  #changed = Promise.withResolvers<void>();

  constructor(audience: Audience) {
    this.audience = audience;
  }

  get cancelled(): AbortSignal {
    return this.#cancelled.signal;
  }

  cancel(): void {
    this.#cancelled.abort();
  }

  /** Settles when more of it is in the store than when this was asked for, or it is over. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  change(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }
}

/** The stored turns that this node runs, for those who listen or stop them here. */
export class LiveTurns {
  readonly #turns = new Map<Id<'turn'>, LiveTurn>();

  get(id: Id<'turn'>): LiveTurn | undefined {
    return this.#turns.get(id);
  }

  /** Answers how it ends. */
  add(id: Id<'turn'>, turn: LiveTurn): () => void {
    this.#turns.set(id, turn);
    return () => {
      if (this.#turns.get(id) === turn) this.#turns.delete(id);
      turn.change();
    };
  }
}
