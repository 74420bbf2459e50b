import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { PrefixCache } from './prefix-cache.ts';

const blockTokens = 4;
const prompt = array(constantFrom('a', 'b'), { maxLength: 24 });

/** Tokens of the longest prefix in whole blocks that `tokens` shares with an earlier prompt, less than all of it. */
function sharedTokens(tokens: readonly string[], earlier: readonly (readonly string[])[]): number {
  const shared = earlier.map((other) => {
    const differs = tokens.findIndex((token, index) => token !== other[index]);
    return differs === -1 ? tokens.length : differs;
  });
  const longest = Math.max(0, ...shared);
  return Math.floor(Math.max(0, Math.min(longest, tokens.length - 1)) / blockTokens) * blockTokens;
}

test('with room enough, exactly the longest shared prefix is cached', () => {
  assert(
    property(array(prompt, { maxLength: 20 }), (prompts) => {
      const cache = new PrefixCache(10_000, blockTokens);
      for (const [index, tokens] of prompts.entries()) {
        const lease = cache.lease(tokens);
        // Blocks of an earlier prompt only, so what an earlier prompt had of this one counts in whole blocks of its own.
        const earlier = prompts
          .slice(0, index)
          .map((other) => other.slice(0, Math.floor(other.length / blockTokens) * blockTokens));
        expect(lease.cachedTokens).toBe(sharedTokens(tokens, earlier));
        lease.commit();
        lease.release();
      }
    }),
  );
});

test('it never holds more blocks than its capacity, and what a running sequence holds is never evicted', () => {
  const step = record({ tokens: prompt, release: integer({ min: 0, max: 3 }) });
  assert(
    property(array(step, { maxLength: 60 }), integer({ min: 1, max: 12 }), (steps, capacity) => {
      const cache = new PrefixCache(capacity, blockTokens);
      const running: { tokens: readonly string[]; lease: ReturnType<PrefixCache['lease']> }[] = [];
      for (const { tokens, release } of steps) {
        const lease = cache.lease(tokens);
        lease.commit();
        running.push({ tokens, lease });
        expect(cache.blocks).toBeLessThanOrEqual(capacity);
        for (const held of running) {
          const again = cache.lease(held.tokens);
          expect(again.cachedTokens).toBeGreaterThanOrEqual(held.lease.cachedTokens);
          again.release();
        }
        for (const { lease: over } of running.splice(0, release)) over.release();
      }
    }),
  );
});
