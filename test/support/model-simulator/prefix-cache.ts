import { hashText } from './tokens.ts';

/** What a sequence holds in the cache while it runs. */
export interface PrefixLease {
  /** Prompt tokens that need not be read again; a multiple of the block size, below the whole prompt. */
  readonly cachedTokens: number;
  /** Makes the prompt's blocks findable: call when prefill is done. */
  commit(): void;
  /** Lets go; the blocks stay until they are the least recently used. Idempotent. */
  release(): void;
}

/**
 * Prefix cache as in vLLM: full blocks of tokens named by a hash over everything before them,
 * held while a sequence uses them, evicted least recently used first and a prompt's tail before
 * its head. Never more than `capacity` blocks.
 */
export class PrefixCache {
  readonly #capacity: number;
  readonly #blockTokens: number;
  readonly #holders = new Map<string, number>();
  /** Blocks nobody holds, least recently used first. */
  readonly #free = new Set<string>();

  constructor(capacity: number, blockTokens: number) {
    this.#capacity = capacity;
    this.#blockTokens = blockTokens;
  }

  get blocks(): number {
    return this.#holders.size;
  }

  /** Finds and holds the longest known prefix; at least one token is always left to read. */
  lease(tokens: readonly string[]): PrefixLease {
    if (this.#capacity === 0) return { cachedTokens: 0, commit() {}, release() {} };
    const names = this.#blockNames(tokens);
    const held: string[] = [];
    for (const name of names) {
      if (!this.#holders.has(name)) break;
      this.#hold(name);
      held.push(name);
    }
    const found = Math.min(held.length, Math.floor(Math.max(0, tokens.length - 1) / this.#blockTokens));
    return {
      cachedTokens: found * this.#blockTokens,
      commit: () => this.#add(names, held),
      release: () => this.#release(held),
    };
  }

  /** Two chained hashes make a 64-bit name. */
  #blockNames(tokens: readonly string[]): string[] {
    const names: string[] = [];
    let low = 0x811c9dc5;
    let high = 0x9747b28c;
    for (let start = 0; start + this.#blockTokens <= tokens.length; start += this.#blockTokens) {
      const text = tokens.slice(start, start + this.#blockTokens).join('\u0000');
      low = hashText(text, low);
      high = hashText(text, high);
      names.push(`${low.toString(36)}.${high.toString(36)}`);
    }
    return names;
  }

  #hold(name: string): void {
    this.#holders.set(name, (this.#holders.get(name) ?? 0) + 1);
    this.#free.delete(name);
  }

  /** Adds from the head on; stops where every block of the cache is held by a running sequence. */
  #add(names: readonly string[], held: string[]): void {
    for (const name of names.slice(held.length)) {
      if (!this.#holders.has(name) && this.#holders.size >= this.#capacity && !this.#evict()) return;
      this.#hold(name);
      held.push(name);
    }
  }

  #evict(): boolean {
    const oldest = this.#free.values().next();
    if (oldest.done === true) return false;
    this.#free.delete(oldest.value);
    this.#holders.delete(oldest.value);
    return true;
  }

  #release(held: string[]): void {
    for (const name of held.splice(0).toReversed()) {
      const left = (this.#holders.get(name) ?? 1) - 1;
      this.#holders.set(name, left);
      if (left === 0) this.#free.add(name);
    }
  }
}
