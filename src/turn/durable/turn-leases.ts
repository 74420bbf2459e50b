import { newId, UsherError, type Clock, type Id } from '#base';
import type { HeldTurn, SystemStore } from '#store';
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

type LeaseStore = Pick<SystemStore, 'renewTurns' | 'endLease' | 'expireLeases'>;

/** One turn that this node runs. */
export interface TurnLease {
  readonly epoch: number;
  /** Aborts when this node must no longer act for the turn. */
  readonly lost: AbortSignal;
  /** Whether it may act at this very moment: a process that slept learns it here first. */
  isHeld(): boolean;
  /** Another node was found to hold it. */
  lose(): void;
  /** The turn needs no more of it: what is left is a write that the database itself guards. Harmless again. */
  release(): void;
}

/** What the database says of a turn each time that it is renewed. */
export type Renewed = (held: HeldTurn) => void;

interface Held {
  readonly epoch: number;
  readonly begunAtMs: number;
  readonly heldAtMs: number;
  readonly lose: AbortController;
  readonly renewed: Renewed;
}

/**
 * The turns that this node runs, told to the database all together while there are any. A turn
 * whose lease another took away, or that could not be renewed in time, is stopped here first.
 */
export class TurnLeases {
  readonly owner: Id<'node'> = newId('node');
  readonly #held = new Map<Id<'turn'>, Held>();
  /** Turns that are claimed and being read, to be held then. */
  readonly #expected = new Set<Id<'turn'>>();
  /** Turns that the last renewal found to be this node's, of which this node knows nothing, with their epochs. */
  #strays: ReadonlyMap<Id<'turn'>, number> = new Map();
  readonly #store: LeaseStore;
  readonly #clock: Clock;
  readonly #telemetry: Telemetry;
  #renewedAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #renewing = false;

  constructor(store: LeaseStore, clock: Clock, telemetry: Telemetry) {
    this.#store = store;
    this.#clock = clock;
    this.#telemetry = telemetry;
  }

  /** How many turns this node runs. */
  get count(): number {
    return this.#held.size;
  }

  /**
   * After the commit as this node's. `begunAtMs`: monotonic, before that commit was asked for.
   * `renewed` hears what the database says of the turn.
   */
  hold(turn: Id<'turn'>, epoch: number, begunAtMs: number, renewed: Renewed): TurnLease {
    const held: Held = { epoch, begunAtMs, heldAtMs: this.#clock.monotonicMs(), lose: new AbortController(), renewed };
    this.#held.set(turn, held);
    this.#timer ??= setInterval(() => this.#look(), lookEveryMs);
    return {
      epoch,
      lost: held.lose.signal,
      isHeld: () => {
        if (!held.lose.signal.aborted && this.#isOver(held, this.#clock.monotonicMs())) held.lose.abort();
        return !held.lose.signal.aborted;
      },
      lose: () => held.lose.abort(),
      release: () => {
        if (this.#held.get(turn) === held) this.#held.delete(turn);
        if (this.#held.size > 0) return;
        clearInterval(this.#timer);
        this.#timer = undefined;
      },
    };
  }

  /** A turn that this node claimed is its own, though not held yet, until the returned function is called. */
  expect(turn: Id<'turn'>): () => void {
    this.#expected.add(turn);
    return () => this.#expected.delete(turn);
  }

  /** This node stops: others may go on at once with what it leaves behind. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { lose } of this.#held.values()) lose.abort();
    try {
      await this.#store.expireLeases(this.owner);
    } catch (error) {
      this.#failed('expireLeases', error);
    }
  }

  #isOver({ begunAtMs }: Held, nowMs: number): boolean {
    return nowMs - Math.max(begunAtMs, this.#renewedAtMs) >= fenceMs;
  }

  #look(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const held of this.#held.values()) if (this.#isOver(held, nowMs)) held.lose.abort();
    // One at a time: a database that hangs must not be asked again and again.
    if (!this.#renewing && nowMs - this.#renewedAtMs >= renewEveryMs) void this.#renew(nowMs);
  }

  async #renew(startedMs: number): Promise<void> {
    this.#renewing = true;
    try {
      const renewed = await this.#store.renewTurns(this.owner, turnLeaseMs);
      const byTurn = new Map(renewed.map((row) => [row.turn, row]));
      this.#renewedAtMs = startedMs;
      for (const [turn, { epoch, heldAtMs, lose, renewed: tell }] of this.#held) {
        const own = byTurn.get(turn);
        if (own?.epoch === epoch) tell(own);
        // One that is held since the renewal began was not there to be renewed.
        else if (heldAtMs < startedMs) lose.abort();
      }
      await this.#leaveStrays(renewed);
    } catch (error) {
      this.#failed('renewTurns', error);
    } finally {
      this.#renewing = false;
    }
  }

  /**
   * A turn whose run ended here before it was over, since its end could not be written or it could not
   * be read, must not be kept from others by renewals. Found twice: the first time its run may just
   * not be held yet.
   */
  async #leaveStrays(renewed: readonly HeldTurn[]): Promise<void> {
    const isStray = ({ turn, epoch }: HeldTurn): boolean =>
      this.#held.get(turn)?.epoch !== epoch && !this.#expected.has(turn);
    const strays = new Map(renewed.filter(isStray).map(({ turn, epoch }) => [turn, epoch]));
    const before = this.#strays;
    this.#strays = strays;
    for (const [turn, epoch] of strays) {
      if (before.get(turn) === epoch) await this.#store.endLease(this.owner, turn, epoch);
    }
  }

  #failed(operation: string, error: unknown): void {
    const code = error instanceof UsherError ? error.code : 'internal';
    this.#telemetry.storeFailed({ operation, code });
  }
}
