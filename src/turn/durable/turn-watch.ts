import { UsherError, type Clock, type Id } from '#base';
import type { TenantId } from '#access';
import type { Store, TurnKey } from '#store';
import type { Telemetry } from '#telemetry';
import type { LiveTurns } from './live-turns.ts';

/** How often turns that run elsewhere, or wait, are looked at. */
const lookEveryMs = 100;
/** How often, and for how long, the nodes that run them are told that they have listeners here. */
const hearEveryMs = 5000;
const hearForMs = 15_000;

/** A turn that is followed on this node. */
export interface WatchedTurn {
  /** Settles when more of it is in the store than when this was asked for. */
  readonly changed: Promise<void>;
  stop(): void;
}

interface Watched {
  readonly tenant: TenantId;
  readonly turn: Id<'turn'>;
  watchers: number;
  /** When its node was told last, by the monotonic clock. */
  heardAtMs: number;
  /** How far it was at the last look. */
  seen: string;
  changed: PromiseWithResolvers<void>;
}

/**
 * Sees for all who follow a turn that runs elsewhere when there is more of it in the store, or when it
 * comes to run here: one question for all of them, so that a node with thousands of listeners asks no more often than one
 * with a single one.
 */
export class TurnWatch {
  readonly #system: Pick<Store['system'], 'turnProgress' | 'hearTurns'>;
  readonly #live: LiveTurns;
  readonly #telemetry: Pick<Telemetry, 'storeFailed'>;
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #watched = new Map<string, Watched>();
  #isLooking = false;
  /** The store did not answer at the last look. */
  #isAway = false;

  constructor(
    system: Pick<Store['system'], 'turnProgress' | 'hearTurns'>,
    live: LiveTurns,
    telemetry: Pick<Telemetry, 'storeFailed'>,
    clock: Pick<Clock, 'monotonicMs'>,
  ) {
    this.#system = system;
    this.#live = live;
    this.#telemetry = telemetry;
    this.#clock = clock;
  }

  watch(tenant: TenantId, turn: Id<'turn'>): WatchedTurn {
    const key = `${tenant}/${turn}`;
    const watched = this.#watched.get(key) ?? newWatched(tenant, turn);
    watched.watchers += 1;
    this.#watched.set(key, watched);
    if (!this.#isLooking) this.#lookSoon();
    return {
      get changed() {
        return watched.changed.promise;
      },
      stop: () => {
        watched.watchers -= 1;
        if (watched.watchers === 0) this.#watched.delete(key);
      },
    };
  }

  #lookSoon(): void {
    this.#isLooking = this.#watched.size > 0;
    if (this.#isLooking) setTimeout(() => void this.#look().finally(() => this.#lookSoon()), lookEveryMs);
  }

  async #look(): Promise<void> {
    const elsewhere: Watched[] = [];
    for (const watched of this.#watched.values()) {
      // Whoever runs here wakes its followers itself, once they have seen that it does.
      if (this.#live.get(watched.turn) === undefined) elsewhere.push(watched);
      else see(watched, 'here');
    }
    if (elsewhere.length === 0) return;
    try {
      const found = await this.#system.turnProgress(elsewhere.map(keyOf));
      const progress = new Map(found.map((row) => [`${row.tenant}/${row.turn}`, row]));
      const running: Watched[] = [];
      for (const watched of elsewhere) {
        const row = progress.get(`${watched.tenant}/${watched.turn}`);
        // One that waits in the queue, or was deleted, is nowhere.
        see(watched, row === undefined ? 'nowhere' : `${row.state}/${row.epoch}/${row.lastSeq}`);
        if (row?.state === 'running') running.push(watched);
      }
      await this.#hear(running);
      this.#isAway = false;
    } catch (error) {
      // Asked again at the next look; told once.
      const code = error instanceof UsherError ? error.code : 'internal';
      if (!this.#isAway) this.#telemetry.storeFailed({ operation: 'turnProgress', code });
      this.#isAway = true;
    }
  }

  /** By time, not by looks: a busy database answers those slowly, and a turn that nobody hears is stopped. */
  async #hear(running: readonly Watched[]): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    const due = running.filter(({ heardAtMs }) => nowMs - heardAtMs >= hearEveryMs);
    if (due.length === 0) return;
    await this.#system.hearTurns(due.map(keyOf), hearForMs);
    for (const watched of due) watched.heardAtMs = nowMs;
  }
}

function see(watched: Watched, seen: string): void {
  if (watched.seen === seen) return;
  watched.seen = seen;
  const { changed } = watched;
  watched.changed = Promise.withResolvers();
  changed.resolve();
}

function keyOf({ tenant, turn }: Watched): TurnKey {
  return { tenant, turn };
}

function newWatched(tenant: TenantId, turn: Id<'turn'>): Watched {
  // Its node is told of the first listener at the first look that finds it running.
  return { tenant, turn, watchers: 0, heardAtMs: -Infinity, seen: '', changed: Promise.withResolvers() };
}
