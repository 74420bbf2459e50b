import { newId, UsherError, type Clock, type Id } from '#base';
import type { SystemStore } from '#store';
import type { Telemetry } from '#telemetry';

/** How long a node is believed to run a turn without saying so again, by the database's clock. */
export const turnLeaseMs = 5000;
const renewEveryMs = 1500;
/**
 * A node that could not renew for this long stops its turns, a second before any other may take
 * them for lost: by its own monotonic clock, since it may not reach the database's.
 */
const fenceMs = turnLeaseMs - 1000;
/** Half of the second between fence and lease. */
const lookEveryMs = 500;

/** One turn that this node runs. */
export interface TurnLease {
  /** Aborts when this node must no longer act for the turn. */
  readonly lost: AbortSignal;
  /** The turn needs no more of it: what is left is a write that the database itself guards. Harmless again. */
  release(): void;
}

interface Held {
  readonly begunAtMs: number;
  readonly heldAtMs: number;
  readonly lose: AbortController;
}

/**
 * The turns that this node runs, told to the database all together while there are any. A turn
 * whose lease another took away, or that could not be renewed in time, is stopped here first.
 */
export class TurnLeases {
  readonly owner: Id<'node'> = newId('node');
  readonly #held = new Map<Id<'turn'>, Held>();
  readonly #store: Pick<SystemStore, 'renewTurns'>;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry;
  #renewedAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;

  constructor(store: Pick<SystemStore, 'renewTurns'>, clock: Clock, telemetry: Telemetry) {
    this.#store = store;
    this.#clock = clock;
    this.#telemetry = telemetry;
  }

  /** After the commit as running. `begunAtMs`: monotonic, before that commit was asked for. */
  hold(turn: Id<'turn'>, begunAtMs: number): TurnLease {
    const held = { begunAtMs, heldAtMs: this.#clock.monotonicMs(), lose: new AbortController() };
    this.#held.set(turn, held);
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs);
    return {
      lost: held.lose.signal,
      release: () => {
        this.#held.delete(turn);
        if (this.#held.size > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
    };
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const { begunAtMs, lose } of this.#held.values()) {
      if (nowMs - Math.max(begunAtMs, this.#renewedAtMs) >= fenceMs) lose.abort();
    }
    // One at a time: a database that hangs must not be asked again and again.
    if (!this.#renewing && nowMs - this.#renewedAtMs >= renewEveryMs) void this.#renew(nowMs);
  }

  async #renew(startedMs: number): Promise<void> {
    this.#renewing = true;
    try {
      const renewed = new Set(await this.#store.renewTurns(this.owner, turnLeaseMs));
      this.#renewedAtMs = startedMs;
      for (const [turn, { heldAtMs, lose }] of this.#held) {
        // One that is held since the renewal began was not there to be renewed.
        if (heldAtMs < startedMs && !renewed.has(turn)) lose.abort();
      }
    } catch (error) {
      const code = error instanceof UsherError ? error.code : 'internal';
      this.#telemetry.storeFailed({ operation: 'renewTurns', code });
    } finally {
      this.#renewing = false;
    }
  }
}
