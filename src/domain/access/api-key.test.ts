import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { apiKeyPrefix, checkApiKey, hashApiKey, makeApiKey } from './api-key.ts';

const secret = fc.uint8Array({ minLength: 20, maxLength: 20 });
const characters = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_ .'.split('');

describe('an API key', () => {
  test('has a prefix that scanners find and 39 characters that a double click selects', () => {
    for (let round = 0; round < 100; round += 1) expect(makeApiKey()).toMatch(/^usher_[0-9A-Za-z]{33}$/);
  });

  test('keeps its format: keys that people hold stay whole', () => {
    // The checksum beside: CRC-32 (IEEE) of the first 33 characters, in base62, by an independent program.
    expect(makeApiKey(new Uint8Array(20))).toBe('usher_0000000000000000000000000000eDSlA');
    expect(makeApiKey(new Uint8Array(20).fill(255))).toBe('usher_aWgEPTl1tmebfsQzFP4bxwgy80V0sWlKz');
  });

  test('is never made twice', () => {
    expect(new Set(Array.from({ length: 1_000 }, () => makeApiKey())).size).toBe(1_000);
  });

  test('passes its own check for any secret, and differs for any two', () => {
    fc.assert(
      fc.property(secret, secret, (one, two) => {
        expect(checkApiKey(makeApiKey(one))).toBe(true);
        expect(makeApiKey(one) === makeApiKey(two)).toBe(Buffer.compare(one, two) === 0);
      }),
    );
  });

  test('fails the check with any one character wrong, missing, doubled or swapped with the next', () => {
    fc.assert(
      fc.property(secret, fc.nat({ max: 38 }), fc.constantFrom(...characters), (bytes, at, character) => {
        const key = makeApiKey(bytes);
        const [before, here, next, after] = [key.slice(0, at), key[at]!, key[at + 1] ?? '', key.slice(at + 2)];
        if (character !== here) expect(checkApiKey(before + character + key.slice(at + 1))).toBe(false);
        if (next !== here) expect(checkApiKey(before + next + here + after)).toBe(next === '');
        expect(checkApiKey(before + key.slice(at + 1))).toBe(false);
        expect(checkApiKey(before + here + key.slice(at))).toBe(false);
      }),
    );
  });

  test.each([
    '',
    'usher_',
    'sk-proj-abcdefghijklmnopqrstuvwxyz0123456789',
    "' OR 1=1 --",
    `${makeApiKey()}\n`,
    ` ${makeApiKey()}`,
  ])('is not %j', (text) => expect(checkApiKey(text)).toBe(false));

  test('is stored as the SHA-256 of the whole of it: equal beginnings do not make equal hashes', () => {
    const one = makeApiKey(new Uint8Array(20));
    const two = makeApiKey(new Uint8Array(20).with(19, 1));
    expect(apiKeyPrefix(one)).toBe(apiKeyPrefix(two));
    expect(one.slice(0, 30)).toBe(two.slice(0, 30));
    expect(hashApiKey(one)).toHaveLength(32);
    expect(hashApiKey(one)).not.toEqual(hashApiKey(two));
  });
});
