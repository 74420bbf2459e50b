import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { prefixChain, PrefixRecord } from './prefix.ts';

const instructions = 'You answer from the handbook. '.repeat(100);

function chain(count: number, name = 'c'): string[] {
  return Array.from({ length: count }, (_, index) => `${name}${index}`);
}

describe('prefixChain', () => {
  test('two prompts share exactly the blocks up to where they part', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 0, maxLength: 4000 }),
        fc.string({ minLength: 600, maxLength: 3000 }),
        fc.string({ minLength: 600, maxLength: 3000 }),
        (shared, left, right) => {
          const [one, two] = [`${shared}L${left}`, `${shared}R${right}`];
          const [first, second] = [prefixChain([one]).prefix, prefixChain([two]).prefix];
          const whole = Math.floor(shared.length / 512);
          expect(first.slice(0, whole)).toEqual(second.slice(0, whole));
          expect(first.slice(whole).some((link) => second.includes(link))).toBe(false);
        },
      ),
    );
  });

  test('a longer conversation keeps the whole chain of the shorter one', () => {
    const before = prefixChain([instructions, 'first question']).prefix;
    const after = prefixChain([instructions, 'first question', 'an answer '.repeat(200)]).prefix;
    expect(after.length).toBeGreaterThan(before.length);
    expect(after.slice(0, before.length)).toEqual(before);
  });

  test('what follows shared instructions changes the chain: not only the head counts', () => {
    const one = prefixChain([instructions, 'a'.repeat(2000)]).prefix;
    const two = prefixChain([instructions, 'b'.repeat(2000)]).prefix;
    expect(one[0]).toBe(two[0]);
    expect(one.at(-1)).not.toBe(two.at(-1));
  });

  test('equal blocks at different places have different hashes', () => {
    const { prefix } = prefixChain(['x'.repeat(512 * 4)]);
    expect(new Set(prefix).size).toBe(4);
  });

  test("one tenant's prompt never matches another's", () => {
    expect(prefixChain([instructions], 'one').prefix[0]).not.toBe(prefixChain([instructions], 'two').prefix[0]);
  });

  test('the rest after the last whole block has no entry', () => {
    expect(prefixChain(['x'.repeat(511)]).prefix).toEqual([]);
    expect(prefixChain(['x'.repeat(1023)]).prefix).toHaveLength(1);
    expect(prefixChain([]).prefix).toEqual([]);
  });
});

describe('PrefixRecord', () => {
  test('finds the longest remembered prefix, by bisection as by walking', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 60 }), (held, asked) => {
        const record = new PrefixRecord();
        record.remember(chain(held), 0);
        expect(record.cachedBlocks(chain(asked), 1)).toBe(Math.min(held, asked));
      }),
    );
  });

  test('under eviction what is left of every chain is a prefix of it', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 3, maxLength: 12 }), (lengths) => {
        const record = new PrefixRecord();
        for (const [index, length] of lengths.entries()) record.remember(chain(length, `${index}-`), index);
        for (const [index, length] of lengths.entries()) {
          const blocks = chain(length, `${index}-`);
          let walked = 0;
          while (walked < length && record.cachedBlocks(blocks.slice(walked, walked + 1), lengths.length) === 1) {
            walked += 1;
          }
          expect(record.cachedBlocks(blocks, lengths.length)).toBe(walked);
        }
      }),
      { numRuns: 20 },
    );
  });

  test('keeps the newest million tokens and lets go of the oldest', () => {
    const record = new PrefixRecord();
    record.remember(chain(8192, 'old'), 0);
    record.remember(chain(4192, 'new'), 1);
    expect(record.cachedBlocks(chain(4192, 'new'), 2)).toBe(4192);
    expect(record.cachedBlocks(chain(8192, 'old'), 2)).toBe(4000);
  });

  test('a prefix idle for over ten minutes no longer counts', () => {
    const record = new PrefixRecord();
    record.remember(chain(4), 0);
    record.remember(chain(2), 300_000);
    expect(record.cachedBlocks(chain(4), 600_000)).toBe(4);
    expect(record.cachedBlocks(chain(4), 600_001)).toBe(2);
  });

  test('a broken backend has nothing cached', () => {
    const record = new PrefixRecord();
    record.remember(chain(4), 0);
    record.forget();
    expect(record.cachedBlocks(chain(4), 0)).toBe(0);
  });
});
