import { UsherError } from '#base';
import type { ReadyTurn } from '#store';
import { beginQueued, takeOver } from './take-turn.ts';
import { turnLeaseMs } from './turn-leases.ts';
import type { TurnRooms } from '../turn-rooms.ts';

/** How often work is looked for that nobody announced here. */
const lookEveryMs = 500;
const claimsPerLook = 32;
const readyPerLane = 8;
/** How long a node that lags behind leaves turns to those that do not. */
const lagMs = 10_000;
/** How often events that are kept long enough are looked for. */
const sweepEveryMs = 60_000;
const sweptAtOnce = 1000;

/**
 * Turns that run here at once at the most; what is beyond waits in the queue, or for another node. One that waits for a
 * person has given its place back, as at its tenant: however many wait, others run.
 */
const turnsMax = 1000;

/**
 * Finds turns to run: those that wait in the queue, and those whose node was lost. Every node that
 * runs turns has one; whichever claims a turn first runs it.
 */
export class TurnWorker {
  readonly #rooms: TurnRooms;
  readonly #eventsKeptMs: number;
  readonly #running = new Set<Promise<void>>();
  #places = 0;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #sweeping: Promise<void> | undefined;
  #isWoken = false;
  #isClosed = false;
  #sweptAtMs = 0;

  constructor(rooms: TurnRooms, { eventsKeptMs }: { readonly eventsKeptMs: number }) {
    this.#rooms = rooms;
    this.#eventsKeptMs = eventsKeptMs;
    this.#timer = setInterval(() => this.wake(), lookEveryMs);
  }

  /** Something may be there to run. */
  wake(): void {
    this.#isWoken = true;
    if (this.#isClosed) return;
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
  }

  /** Settles when the turns of this worker have ended, or were left to others. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#looking;
    await Promise.allSettled([...this.#running, this.#sweeping]);
  }

  async #look(): Promise<void> {
    while (this.#isWoken && !this.#isClosed && !this.#rooms.draining()) {
      this.#isWoken = false;
      try {
        await this.#claimLost();
        await this.#beginReady();
        this.#sweeping ??= this.#sweepEvents().finally(() => {
          this.#sweeping = undefined;
        });
      } catch (error) {
        this.#report('turn worker', error);
      }
    }
  }

  async #claimLost(): Promise<void> {
    const { store, leases, limits, clock } = this.#rooms;
    const begunAtMs = clock.monotonicMs();
    const claimed = await store.system.claimTurns(
      leases.owner,
      turnLeaseMs,
      claimsPerLook,
      this.#rooms.lagsBehind() ? lagMs : 0,
    );
    for (const turn of claimed) {
      // It has begun, and goes on also where its tenant is at its limit here.
      const release = this.#releaser(limits.enter(turn.tenant, begunAtMs));
      this.#run('take over', takeOver(this.#rooms, turn, { begunAtMs, release }), release);
    }
  }

  async #beginReady(): Promise<void> {
    const room = Math.min(turnsMax - this.#places, claimsPerLook);
    if (room <= 0) return;
    const { store, limits } = this.#rooms;
    const ready = await store.system.readyTurns({
      most: room,
      perLane: readyPerLane,
      waitedMs: this.#rooms.lagsBehind() ? lagMs : 0,
      full: limits.fullLanes(),
    });
    const beginnings = ready.map((turn) => this.#begin(turn));
    // There may be more: as soon as these are out of the queue, not at the next look. Where none left it, that is soon enough.
    if (ready.length >= Math.min(room, readyPerLane)) void this.#lookOnceBegun(beginnings);
  }

  async #lookOnceBegun(beginnings: readonly Promise<boolean>[]): Promise<void> {
    if ((await Promise.all(beginnings)).includes(true)) this.wake();
  }

  /** Whether the turn left the queue by this. */
  async #begin({ turn, isLate, ...lane }: ReadyTurn): Promise<boolean> {
    if (this.#beginning.has(turn)) return false;
    const { limits, clock } = this.#rooms;
    const giveBack = isLate ? () => undefined : limits.enterQueued(lane, clock.monotonicMs());
    if (giveBack === undefined) return false;
    const release = this.#releaser(giveBack);
    this.#beginning.add(turn);
    return new Promise((settle) => {
      const running = beginQueued(this.#rooms, lane.tenant, turn, { begun: () => settle(true), release }).finally(
        () => {
          this.#beginning.delete(turn);
          settle(false);
        },
      );
      this.#run('begin queued', running, release);
    });
  }

  /** Queued turns that this worker is at, so that one look does not begin what another began. */
  readonly #beginning = new Set<string>();

  async #sweepEvents(): Promise<void> {
    const nowMs = this.#rooms.clock.wallMs();
    if (nowMs - this.#sweptAtMs < sweepEveryMs) return;
    this.#sweptAtMs = nowMs;
    const { system } = this.#rooms.store;
    try {
      // As fast as they are written, in parts, so that no other write waits for long.
      while (!this.#isClosed && (await system.deleteEvents(nowMs - this.#eventsKeptMs, sweptAtOnce)) === sweptAtOnce);
    } catch (error) {
      this.#report('sweep of events', error);
    }
  }

  /** Takes a place here; what is answered gives it back, and that of the tenant, and is harmless again. */
  #releaser(giveBack: (nowMs: number) => void): () => void {
    let held = true;
    this.#places += 1;
    return () => {
      if (!held) return;
      held = false;
      this.#places -= 1;
      giveBack(this.#rooms.clock.monotonicMs());
    };
  }

  #run(what: string, work: Promise<void>, release: () => void): void {
    const running = work
      .catch((error: unknown) => this.#report(what, error))
      .finally(() => {
        this.#running.delete(running);
        release();
        // The next of its conversation may begin.
        this.wake();
      });
    this.#running.add(running);
  }

  /** A turn that is left stays claimed until its lease is over, and is found again then. */
  #report(where: string, error: unknown): void {
    if (!(error instanceof UsherError)) this.#rooms.telemetry.unexpected({ where, error });
    else if (error.code !== 'interrupted' && error.code !== 'shutting_down') {
      this.#rooms.telemetry.storeFailed({ operation: where, code: error.code });
    }
  }
}
