import { expect, test } from 'vitest';
import { hasBoundedReferences } from './bounded-references.ts';

const chain = (length: number, fan: number) => ({
  $ref: '#/$defs/d0',
  $defs: Object.fromEntries(
    Array.from({ length }, (_, index) => {
      const next = { $ref: `#/$defs/d${index + 1}` };
      return [
        `d${index}`,
        index === length - 1 ? { type: 'object' } : { allOf: Array.from({ length: fan }, () => next) },
      ];
    }),
  ),
});

test.each([
  ['a chain', chain(100, 1), true],
  ['a chain that doubles twenty times', chain(20, 2), false],
  ['a few that are named twice', chain(5, 2), true],
  ['one that refers to itself', { properties: { next: { $ref: '#' }, again: { $ref: '#/properties/next' } } }, true],
  ['a property called $ref', { properties: { $ref: { type: 'string' } } }, true],
  ['a name with signs', { $ref: '#/$defs/a~1b%20c', $defs: { 'a/b c': chain(2, 2) } }, true],
])('%s', (_name, schema, expected) => {
  expect(hasBoundedReferences(schema)).toBe(expected);
});
