import { setTimeout as delay } from 'node:timers/promises';
import type { Id } from '#base';
import type { Audience } from './audience.ts';

/** A stored turn that this node runs. */
export class LiveTurn {
  readonly audience: Audience;
  readonly #cancelled = new AbortController();
  /** A person is waited for: nothing is under way that another node would have to do again. */
  isWaiting = false;
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

/** How often a node that stops looks whether its turns are over. */
const lookEveryMs = 50;
/** Beyond these a turn is made again, which does no harm. */
const withoutRoomMax = 10_000;

/** The stored turns that this node runs, for those who listen or stop them here. */
export class LiveTurns {
  readonly #turns = new Map<Id<'turn'>, LiveTurn>();
  readonly #withoutRoom = new Set<Id<'turn'>>();

  get(id: Id<'turn'>): LiveTurn | undefined {
    return this.#turns.get(id);
  }

  /** The store has no room for this one: it is not made again when there is some, it fails. */
  foundNoRoom(id: Id<'turn'>): void {
    if (this.#withoutRoom.size < withoutRoomMax) this.#withoutRoom.add(id);
  }

  /** Whether that was found of it; said once. */
  hadNoRoom(id: Id<'turn'>): boolean {
    return this.#withoutRoom.delete(id);
  }

  /** Settles when no answer is under way here, or `signal` aborts. */
  async quiet(signal: AbortSignal): Promise<void> {
    const isBusy = (): boolean => [...this.#turns.values()].some(({ isWaiting }) => !isWaiting);
    while (!signal.aborted && isBusy()) await delay(lookEveryMs, undefined, { signal }).catch(() => undefined);
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
