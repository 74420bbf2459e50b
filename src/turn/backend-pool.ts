import type { AttemptTimeouts, Backend } from '#backend';
import type { Need, Pick, Pool, Settlement, Ticket } from '#balancer';
import { UsherError, type Clock } from '#base';

/** Turns that may wait for a busy pool at once, and how long each may. */
const waitersMax = 200;
const waitMs = 20_000;
/** A backend may stand in several pools: what another pool gives back is seen at the latest after this. */
const lookAgainMs = 250;

export interface BackendPoolOptions {
  readonly name: string;
  readonly pool: Pool;
  readonly backends: ReadonlyMap<string, Backend>;
  readonly timeouts: AttemptTimeouts;
  readonly attemptsMax: number;
  /** What answers when nothing else can, where the owner chose one. */
  readonly fallback: BackendPool | undefined;
  readonly clock: Clock;
}

/**
 * A pool with its real backends. Where every member is busy, a turn waits here in order of arrival,
 * bounded in number and time: the queue stands at the gateway, not in the engine.
 */
export class BackendPool {
  readonly name: string;
  readonly timeouts: AttemptTimeouts;
  readonly attemptsMax: number;
  readonly fallback: BackendPool | undefined;
  readonly #pool: Pool;
  readonly #backends: ReadonlyMap<string, Backend>;
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();

  constructor(options: BackendPoolOptions) {
    this.name = options.name;
    this.timeouts = options.timeouts;
    this.attemptsMax = options.attemptsMax;
    this.fallback = options.fallback;
    this.#pool = options.pool;
    this.#backends = options.backends;
    this.#clock = options.clock;
  }

  /** Picks a backend, after waiting for a free place where all are merely busy. */
  async pick(need: Need, signal: AbortSignal): Promise<Pick> {
    const deadlineMs = this.#clock.monotonicMs() + waitMs;
    for (;;) {
      const pick = this.#pool.pick(need, this.#clock.monotonicMs());
      const remainingMs = deadlineMs - this.#clock.monotonicMs();
      if (pick.result === 'picked' || pick.reason !== 'busy' || remainingMs <= 0) return pick;
      if (this.#waiting.size >= waitersMax) return pick;
      await this.#freePlace(Math.min(remainingMs, lookAgainMs), signal);
    }
  }

  backend(ticket: Ticket): Backend {
    const backend = this.#backends.get(ticket.backend);
    if (backend === undefined) throw new UsherError('internal', `Pool ${this.name} has no backend ${ticket.backend}.`);
    return backend;
  }

  mayRetry(): boolean {
    return this.#pool.mayRetry(this.#clock.monotonicMs());
  }

  head(ticket: Ticket, limits: Parameters<Pool['head']>[1]): void {
    this.#pool.head(ticket, limits, this.#clock.monotonicMs());
  }

  firstToken(ticket: Ticket): void {
    this.#pool.firstToken(ticket, this.#clock.monotonicMs());
  }

  settle(ticket: Ticket, settlement: Settlement): void {
    this.#pool.settle(ticket, settlement, this.#clock.monotonicMs());
    const [first] = this.#waiting;
    first?.();
  }

  members(): ReturnType<Pool['members']> {
    return this.#pool.members(this.#clock.monotonicMs());
  }

  #freePlace(remainingMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', wake);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, remainingMs);
      signal.addEventListener('abort', wake, { once: true });
      this.#waiting.add(wake);
    });
  }
}
