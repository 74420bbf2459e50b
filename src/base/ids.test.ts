import { expect, test } from 'vitest';
import { newId, parseId } from './ids.ts';

test('ids of a later moment sort after those of an earlier one', () => {
  expect(newId('turn', 1_000) < newId('turn', 1_001)).toBe(true);
});

test('ten thousand ids of one moment are all different and well formed', () => {
  const ids = Array.from({ length: 10_000 }, () => newId('conversation', 1_700_000_000_000));
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids.every((id) => parseId('conversation', id) === id)).toBe(true);
});

test('an id of another kind, or with anything around it, is not taken', () => {
  const id = newId('turn');
  expect(parseId('conversation', id)).toBeUndefined();
  expect(parseId('turn', ` ${id}`)).toBeUndefined();
  expect(parseId('turn', `${id}\n`)).toBeUndefined();
  expect(parseId('turn', id.toUpperCase())).toBeUndefined();
});
