import type { Relay } from '../answer/answer.ts';

/** Who hears elsewhere says so now and then, and whoever asked for a turn that begins elsewhere comes to it first. */
const elsewhereMs = 10_000;

/**
 * Who listens to a turn. Once nobody does, and none came back for `outliveMs`, the turn is stopped:
 * at once where nothing of it is kept, never where it runs in the background.
 */
export class Audience {
  readonly #gone = new AbortController();
  #outliveMs: number;
  #relay: Relay | undefined;
  #others = 0;
  #isHeardElsewhere = false;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #unlisten: () => void = () => {};

  /** `relay` and `signal` are the first listener's; none for a turn that began elsewhere. */
  constructor(outliveMs: number, first?: { readonly relay: Relay; readonly signal: AbortSignal }) {
    this.#outliveMs = outliveMs;
    this.#relay = first?.relay;
    if (first === undefined) {
      this.#wait(elsewhereMs);
      return;
    }
    const { signal } = first;
    if (signal.aborted) this.#leave();
    else signal.addEventListener('abort', this.#leave, { once: true });
    this.#unlisten = () => signal.removeEventListener('abort', this.#leave);
  }

  /** Aborts when nobody listens and none is waited for any more. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  readonly tell: Relay = (event) => this.#relay?.(event)?.catch(this.#leave);

  /** It is waited for at least so long from now on. */
  outlive(ms: number): void {
    this.#outliveMs = Math.max(this.#outliveMs, ms);
    this.#wait();
  }

  /** Whether somebody hears the turn from the store, here or elsewhere. */
  get isFollowed(): boolean {
    return this.#others > 0 || this.#isHeardElsewhere;
  }

  /** Whether anybody hears it here, first or later listener. Whoever hears it elsewhere says so at its end. */
  get isHeard(): boolean {
    return this.#relay !== undefined || this.#others > 0;
  }

  /** Another listener, until the returned function is called. */
  join(): () => void {
    this.#others += 1;
    clearTimeout(this.#timer);
    return () => {
      this.#others -= 1;
      this.#wait();
    };
  }

  /** Whether somebody listens elsewhere, as each renewal tells. */
  heardElsewhere(is: boolean): void {
    this.#isHeardElsewhere = is;
    if (is) this.#wait();
  }

  /** The turn is over here: whoever leaves after that is waited for no more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#unlisten();
    this.#relay = undefined;
  }

  readonly #leave = (): void => {
    this.#relay = undefined;
    this.#wait();
  };

  #wait(leastMs = 0): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#relay !== undefined || this.#others > 0 || this.#outliveMs === Infinity) return;
    const waitMs = Math.max(this.#outliveMs, this.#isHeardElsewhere ? elsewhereMs : leastMs);
    if (waitMs === 0) this.#gone.abort();
    else this.#timer = setTimeout(() => this.#gone.abort(), waitMs);
  }
}
