import { expect, test } from 'vitest';
import { portableInputSchema } from './input-schema.ts';

test('patterns are left to the server, and arguments of their name are kept', () => {
  const named = { type: 'object', properties: { pattern: { type: 'string' } } };
  const schema = { ...named, $id: 'https://a.example', patternProperties: { '^(a+)+$': {} } };
  expect(portableInputSchema(schema)).toEqual(named);
});

test.each([
  ['itself', { properties: { next: { $ref: '#' } } }, true],
  ['a definition', { properties: { to: { $ref: '#/$defs/place' } }, $defs: { place: { type: 'string' } } }, true],
  ['an anchor', { properties: { to: { $ref: '#place' } }, $defs: { place: { $anchor: 'place' } } }, false],
  ['wherever the check came from', { properties: { to: { $dynamicRef: '#place' } } }, false],
  ['another document', { properties: { to: { $ref: 'https://a.example/place' } } }, false],
])('a schema that refers to %s is taken: %j, %s', (_name, schema, taken) => {
  expect(portableInputSchema(schema)).toEqual(taken ? schema : undefined);
});
