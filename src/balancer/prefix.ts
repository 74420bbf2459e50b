import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Need } from './port.ts';

/**
 * Which part of a prompt a backend has probably cached.
 *
 * A prompt is cut into blocks of 512 characters, about 128 tokens (the step of hosted prompt
 * caches). Each block's hash covers its own text and the hash before it, so entry i names the whole
 * prompt up to block i: two prompts share exactly the entries up to where they part. Hashing only the
 * head would not do, since every conversation of one assistant begins with the same instructions.
 *
 * SHA-256 is chosen by measurement: 8 links of a 4 KB prompt cost about 5 us through one-shot
 * `crypto.hash`, less than a 32-bit hash in JavaScript over the same text, and no two tenants' prompts
 * can be made to collide.
 */
const blockChars = 512;
/** At four characters a token. */
const blockTokens = 128;

/** About a million tokens for each backend, and about 1 MB of memory here. */
const entriesMax = 8192;
/** Hosted caches forget a prefix after 5 to 10 idle minutes; self-hosted engines evict by recency. */
const idleMaxMs = 10 * 60_000;

/** The part of a `Need` that says what a prompt begins with. */
export type PrefixChain = Pick<Need, 'prefix' | 'blockTokens'>;

/**
 * The chained hashes of a prompt's whole blocks, oldest first; the rest after the last whole block
 * has no entry.
 *
 * @param segments the prompt's texts in the order in which the model reads them
 * @param tenantSalt keeps one tenant's prompts from matching another's
 */
export function prefixChain(segments: readonly string[], tenantSalt = ''): PrefixChain {
  const text = segments.length === 1 ? segments[0]! : segments.join('\0');
  const prefix: string[] = [];
  let link = `${tenantSalt}\0`;
  for (let end = blockChars; end <= text.length; end += blockChars) {
    link = hash('sha256', link + text.slice(end - blockChars, end), 'base64url');
    prefix.push(link);
  }
  return { prefix, blockTokens };
}

/**
 * The prefixes sent to one backend, least recently used out first. Every touch goes from the last
 * block to the first, so a block is always more recent than those that continue it; therefore
 * eviction and age take the tail before its head, and what remains of a chain is always a prefix of
 * it, found by bisection.
 */
export class PrefixRecord {
  /** Hash to the time of its last use. */
  readonly #lastUsedMs = new LRUCache<string, number>({ max: entriesMax });

  /** How many leading blocks of the chain the backend has probably cached. */
  cachedBlocks(chain: readonly string[], nowMs: number): number {
    if (chain.length === 0 || !this.#holds(chain[0]!, nowMs)) return 0;
    let cached = 1;
    let missing = chain.length + 1;
    while (missing - cached > 1) {
      const middle = (cached + missing) >> 1;
      if (this.#holds(chain[middle - 1]!, nowMs)) cached = middle;
      else missing = middle;
    }
    return cached;
  }

  remember(chain: readonly string[], nowMs: number): void {
    for (let index = Math.min(chain.length, entriesMax) - 1; index >= 0; index -= 1) {
      this.#lastUsedMs.set(chain[index]!, nowMs);
    }
  }

  /** The backend broke or restarted: its cache is gone. */
  forget(): void {
    if (this.#lastUsedMs.size > 0) this.#lastUsedMs.clear();
  }

  #holds(link: string, nowMs: number): boolean {
    const usedMs = this.#lastUsedMs.peek(link);
    return usedMs !== undefined && nowMs - usedMs <= idleMaxMs;
  }
}
