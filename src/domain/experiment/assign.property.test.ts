import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assign, pointOf } from './assign.ts';

const sides = fc.array(fc.record({ share: fc.nat({ max: 100 }), value: fc.nat() }), { minLength: 1, maxLength: 6 });
const usable = sides.filter((list) => list.some((side) => side.share > 0));

describe('assign', () => {
  test('a unit falls on the same side each time, and never on one without a share', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), usable, (salt, unit, list) => {
        const numbered = list.map((side, index) => ({ share: side.share, value: index }));
        const chosen = assign(salt, unit, numbered);
        expect(assign(salt, unit, numbered)).toBe(chosen);
        expect(numbered[chosen]!.share).toBeGreaterThan(0);
      }),
    );
  });

  test('growing the new side keeps every unit that was already on it', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat({ max: 99 }), fc.nat({ max: 100 }), (unit, before, growth) => {
        const after = Math.min(100, before + growth);
        const split = (share: number): string =>
          assign('salt', unit, [
            { share: 100 - share, value: 'old' },
            { share, value: 'new' },
          ]);
        if (split(before) === 'new') expect(split(after)).toBe('new');
      }),
    );
  });

  test('shares are kept over many units, within five standard deviations', () => {
    const units = 20_000;
    const share = 0.1;
    let hits = 0;
    for (let unit = 0; unit < units; unit += 1) {
      const list = [
        { share: 9, value: 0 },
        { share: 1, value: 1 },
      ];
      hits += assign('salt', `user-${unit}`, list);
    }
    const deviation = Math.sqrt(units * share * (1 - share));
    expect(Math.abs(hits - units * share)).toBeLessThan(5 * deviation);
  });

  test('a split of nothing is a defect of the caller', () => {
    expect(() => assign('salt', 'unit', [])).toThrow(RangeError);
    expect(() => assign('salt', 'unit', [{ share: 0, value: 1 }])).toThrow(RangeError);
  });

  test('the point of a unit is the same on every machine', () => {
    // printf 'salt\0unit' | sha256sum begins with the 48 bits below; divided by 2^48.
    expect(pointOf('salt', 'unit')).toBe(0xed2eb29f333d / 2 ** 48);
  });
});
