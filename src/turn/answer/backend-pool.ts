import type { AttemptTimeouts, Backend } from '#backend';
import type { Need, Pick, Pool, Settlement, Ticket } from '#balancer';
import { UsherError, type Clock } from '#base';

/** Turns that may wait for a busy pool at once, and how long each may. */
const waitersMax = 200;
const waitMs = 20_000;
/** A backend may stand in several pools: what another pool gives back is seen at the latest after this. */
const lookAgainMs = 250;

interface Waiting {
  readonly need: Need;
  readonly serve: (pick: Pick) => void;
}

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
  /** In order of arrival. */
  readonly #waiting: Waiting[] = [];

  constructor(options: BackendPoolOptions) {
    this.name = options.name;
    this.timeouts = options.timeouts;
    this.attemptsMax = options.attemptsMax;
    this.fallback = options.fallback;
    this.#pool = options.pool;
    this.#backends = options.backends;
    this.#clock = options.clock;
  }

  /** Picks a backend, after waiting for a free place where all are merely busy; none overtakes. */
  async pick(need: Need, signal: AbortSignal): Promise<Pick> {
    const pick: Pick = this.#waiting.length > 0 ? queued : this.#pool.pick(need, this.#clock.monotonicMs());
    const mustWait = pick.result === 'none' && pick.reason === 'busy';
    if (!mustWait || signal.aborted || this.#waiting.length >= waitersMax) return pick;
    return this.#wait(need, signal);
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
    this.#serveWaiting();
  }

  members(): ReturnType<Pool['members']> {
    return this.#pool.members(this.#clock.monotonicMs());
  }

  #wait(need: Need, signal: AbortSignal): Promise<Pick> {
    return new Promise((resolve) => {
      const waiting: Waiting = { need, serve: (pick) => leave(pick) };
      const giveUp = (): void => leave(queued);
      const leave = (pick: Pick): void => {
        clearTimeout(deadline);
        clearInterval(lookAgain);
        signal.removeEventListener('abort', giveUp);
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        resolve(pick);
      };
      const deadline = setTimeout(giveUp, waitMs);
      const lookAgain = setInterval(() => this.#serveWaiting(), lookAgainMs);
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.push(waiting);
    });
  }

  /** Whoever came first is served first, as far as places reach. */
  #serveWaiting(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const pick = this.#pool.pick(first.need, this.#clock.monotonicMs());
      if (pick.result === 'none' && pick.reason === 'busy') return;
      first.serve(pick);
    }
  }
}

/** What a turn is told that waited in vain; the next place is about one answer away. */
const queued: Pick = { result: 'none', reason: 'busy', retryAfterMs: 1000 };
