import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { fuseRanks } from './fuse-ranks.ts';
import { nearestRows, tableOf } from './vector-table.ts';

const vector = (...numbers: number[]): Float32Array => Float32Array.from(numbers);

test('rows come by their direction alone, nearest first; none that points away, and no more than asked for', async () => {
  const table = tableOf([vector(0, 1), undefined, vector(9, 1), vector(-1, 0), vector(1, 1), vector(0, 0)])!;
  expect(await nearestRows(table, vector(100, 0), 9)).toEqual([2, 4]);
  expect(await nearestRows(table, vector(0.001, 0), 1)).toEqual([2]);
});

test('vectors of another length, or of none, are near to nothing', async () => {
  expect(tableOf([])).toBeUndefined();
  expect(tableOf([undefined])).toBeUndefined();
  const table = tableOf([vector(1, 0), vector(1, 0, 0), vector(NaN, 1), vector(Infinity, 1)])!;
  expect(await nearestRows(table, vector(1, 0), 9)).toEqual([0]);
  expect(await nearestRows(table, vector(1, 0, 0), 9)).toEqual([]);
  expect(await nearestRows(table, vector(0, 0), 9)).toEqual([]);
});

test('of any vectors, of any length, the nearest are those of the greatest cosine', async () => {
  const lengths = fc.integer({ min: 1, max: 11 });
  const cases = lengths.chain((length) => {
    const one = fc.array(fc.integer({ min: -9, max: 9 }), { minLength: length, maxLength: length });
    return fc.tuple(one, fc.array(one, { minLength: 1, maxLength: 30 }));
  });
  await fc.assert(
    fc.asyncProperty(cases, async ([question, rows]) => {
      const cosine = (row: readonly number[]): number => {
        const sum = row.reduce((total, number, at) => total + number * question[at]!, 0);
        return sum / (Math.hypot(...row) * Math.hypot(...question) || 1);
      };
      const found = await nearestRows(tableOf(rows.map((row) => vector(...row)))!, vector(...question), rows.length);
      const likenesses = found.map((row) => cosine(rows[row]!));
      // Of rounding's width on either side of a right angle, both is right.
      expect(likenesses.every((likeness) => likeness > -1e-5)).toBe(true);
      expect(likenesses.filter((likeness) => likeness > 1e-5)).toHaveLength(
        rows.filter((row) => cosine(row) > 1e-5).length,
      );
      for (const [at, likeness] of likenesses.slice(1).entries()) {
        expect(likeness).toBeLessThanOrEqual(likenesses[at]! + 1e-5);
      }
    }),
  );
});

test('what two rankings hold comes before what one holds; of equal ones the first ranking decides', () => {
  expect(
    fuseRanks([
      [7, 8],
      [9, 8],
    ]).map(({ row }) => row),
  ).toEqual([8, 7, 9]);
  expect(fuseRanks([[1, 2, 3], []]).map(({ row }) => row)).toEqual([1, 2, 3]);
  expect(fuseRanks([[5], [5]])).toEqual([{ row: 5, score: 2 / 61 }]);
});
