import type { SimulatorOptions } from './options.ts';
import type { Visitor } from './visitor.ts';

/**
 * The compute of a model server: a bounded number of running sequences, one prompt read at a
 * time, and tokens that come slower the more sequences run together.
 */
export class Engine {
  options: SimulatorOptions;
  #running = 0;
  readonly #lobby: Visitor[] = [];
  readonly #prefills: Visitor[] = [];

  constructor(options: SimulatorOptions) {
    this.options = options;
  }

  get running(): number {
    return this.#running;
  }

  /** Waits for a place. Whoever got `true` must `leave`. */
  async enter(visitor: Visitor): Promise<boolean> {
    if (this.#isFull()) {
      this.#lobby.push(visitor);
      // A place that is freed is handed on, already counted; only leaving wakes otherwise.
      while (!visitor.gone && this.#lobby.includes(visitor)) await visitor.wait();
      if (this.#remove(this.#lobby, visitor)) return false;
      if (visitor.gone) this.leave();
      return !visitor.gone;
    }
    this.#running += 1;
    return true;
  }

  leave(): void {
    this.#running -= 1;
    if (this.#isFull()) return;
    const next = this.#lobby.shift();
    if (next === undefined) return;
    this.#running += 1;
    next.wake();
  }

  /** Reads `tokens` of a prompt after those that came before. `false`: the visitor left. */
  async prefill(tokens: number, visitor: Visitor): Promise<boolean> {
    const pace = this.options.prefillTokensPerSecond;
    if (pace === 0) return !visitor.gone;
    this.#prefills.push(visitor);
    while (!visitor.gone && this.#prefills[0] !== visitor) await visitor.wait();
    const until = performance.now() + (tokens * 1000) / pace;
    while (!visitor.gone && performance.now() < until) await visitor.sleep(until - performance.now());
    this.#remove(this.#prefills, visitor);
    this.#prefills[0]?.wake();
    return !visitor.gone;
  }

  /** Time to the next token of a sequence with its own `tokenMs`, by how many run now. */
  gapMs(tokenMs: number): number {
    return tokenMs * (1 + this.options.batchSlowdown * (this.#running - 1));
  }

  #isFull(): boolean {
    return this.options.concurrency > 0 && this.#running >= this.options.concurrency;
  }

  #remove(line: Visitor[], visitor: Visitor): boolean {
    const place = line.indexOf(visitor);
    if (place !== -1) line.splice(place, 1);
    return place !== -1;
  }
}
