import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseJson } from './read-json.ts';

/** Levels of arrays and objects around the deepest value. */
function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Object.values(value).reduce((deepest: number, inner) => Math.max(deepest, depthOf(inner)), 0);
}

/** Values whose strings are full of what JSON uses for itself. */
const tricky = fc.string({ unit: fc.constantFrom('"', '\\', '[', '{', ']', '}', 'a', 'é', ',', ':', '\n', '_') });
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 6 },
    tricky,
    fc.integer(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(tricky, tie('value'), { maxKeys: 3 }),
  ),
}));

describe('JSON within a depth', () => {
  test('is read just as JSON.parse reads it, and refused exactly where it is deeper', () => {
    fc.assert(
      fc.property(value, fc.nat({ max: 7 }), fc.nat({ max: 2 }), (value, depthMax, indent) => {
        const text = JSON.stringify(value, null, indent);
        if (depthOf(value) > depthMax) {
          expect(() => parseJson(text, depthMax, 50_000)).toThrow(/nested deeper/);
        } else {
          expect(parseJson(text, depthMax, 50_000)).toEqual(JSON.parse(text));
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('is refused by the number of its values before any is made, and strings count for one however long', () => {
    for (const unit of ['0', '{}', '[]', '""', '{"a":0}']) {
      expect(() => parseJson(`[${`${unit},`.repeat(50_000)}0]`, 8, 50_000)).toThrow(/more than 50000 values/);
    }
    const long = [','.repeat(100_000), '[{'.repeat(100_000), '\\",'.repeat(100_000)];
    expect(parseJson(JSON.stringify(long), 8, 50_000)).toEqual(long);
  });

  test('is refused with a sentence of ours whatever text is given, and never with another error', () => {
    fc.assert(
      fc.property(fc.oneof(tricky, fc.string({ unit: 'binary' })), (text) => {
        try {
          parseJson(text, 8, 50_000);
        } catch (error) {
          expect(error).toMatchObject({ name: 'UsherError', code: 'invalid_request' });
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('never holds a key __proto__, however it is spelt', () => {
    const spelt = fc
      .tuple(...Array.from('__proto__').map((letter) => fc.constantFrom(letter, escaped(letter))))
      .map((letters) => letters.join(''));
    fc.assert(
      fc.property(spelt, fc.boolean(), (key, isInner) => {
        const text = isInner ? `[{"a":{"${key}":{"admin":true}}}]` : `{"${key}":{"admin":true}}`;
        expect(() => parseJson(text, 8, 50_000)).toThrow(/`__proto__` is not accepted/);
      }),
    );
  });
});

function escaped(letter: string): string {
  return `\\u00${letter.charCodeAt(0).toString(16)}`;
}
