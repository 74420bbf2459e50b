import { expect, test } from 'vitest';
import { openJsonSchema } from './json-schema.ts';

function resultOf(schema: object, value: unknown): string {
  return openJsonSchema(schema, { patterns: true })(value).result;
}

const list = {
  $ref: '#/$defs/node',
  $defs: {
    node: {
      type: 'object',
      properties: { value: { type: 'number' }, next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
      required: ['value', 'next'],
      additionalProperties: false,
    },
  },
};
const page = {
  type: 'object',
  properties: {
    type: { type: 'string', enum: ['div', 'button', 'form'] },
    children: { type: 'array', items: { $ref: '#' } },
  },
  required: ['type', 'children'],
  additionalProperties: false,
};
const term = {
  anyOf: [
    { type: 'number' },
    {
      type: 'object',
      properties: { op: { const: '+' }, left: { $ref: '#' }, right: { $ref: '#' } },
      required: ['op', 'left', 'right'],
    },
    { type: 'object', properties: { op: { const: '-' }, left: { $ref: '#' } }, required: ['op', 'left'] },
  ],
};
const chainOf = (length: number): unknown =>
  Array.from({ length }).reduce<unknown>((next, _, value) => ({ value, next }), null);
const sumOf = (depth: number): unknown =>
  Array.from({ length: depth }).reduce<unknown>((left) => ({ op: '+', left, right: 1 }), 1);

test.each([
  ['a list', list, chainOf(200), 'holds'],
  ['a list that breaks off', list, { value: 1, next: { value: 2 } }, 'fails'],
  [
    'a tree',
    page,
    { type: 'form', children: [{ type: 'div', children: [{ type: 'button', children: [] }] }] },
    'holds',
  ],
  ['a tree with another leaf', page, { type: 'form', children: [{ type: 'span', children: [] }] }, 'fails'],
  ['terms, each of several kinds', term, sumOf(10), 'holds'],
  ['a term without an end', term, { op: '-', left: { op: '+', left: 1 } }, 'fails'],
])('a schema that refers to itself is checked with: %s', (_name, schema, value, expected) => {
  expect(resultOf(schema, value)).toBe(expected);
});

const self = { $ref: '#' };
const chain = (link: (at: number) => object): object => ({
  ...link(1),
  $defs: Object.fromEntries(Array.from({ length: 60 }, (_, at) => [`d${at + 1}`, at === 59 ? {} : link(at + 2)])),
});
const nested = Array.from({ length: 60 }).reduce<object>((n) => ({ n }), {});

test.each([
  ['itself twice, one value further down', { allOf: [{ properties: { n: self } }, { properties: { n: self } }] }],
  [
    'itself for each of two names of one value',
    { properties: { n: self }, propertyNames: {}, allOf: [{ additionalProperties: self }] },
  ],
  ['itself, in the same place', { allOf: [self, self] }],
  ['the next one twice', chain((at) => ({ allOf: [{ $ref: `#/$defs/d${at}` }, { $ref: `#/$defs/d${at}` }] }))],
  [
    'the next one as condition and as consequence',
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    chain((at) => ({ if: { $ref: `#/$defs/d${at}` }, then: { $ref: `#/$defs/d${at}` } })),
  ],
  [
    'the next one for a name',
    chain((at) => ({ dependentSchemas: { n: { $ref: `#/$defs/d${at}` } }, not: { not: { $ref: `#/$defs/d${at}` } } })),
  ],
])('one whose check would double with each step is given up: %s', (_name, schema) => {
  expect(resultOf(schema, nested)).toBe('unknown');
});

test('much to check costs no more than it is long', () => {
  const name = (at: number): string => `k${at}`;
  const many = Array.from({ length: 8000 }, (_, at) => at);
  expect(
    resultOf(
      { items: { enum: many.map((at) => ({ at })) } },
      many.map(() => ({})),
    ),
  ).toBe('unknown');
  expect(
    resultOf(
      { items: { required: many.map(name) } },
      many.map(() => ({})),
    ),
  ).toBe('unknown');
  const wide = Object.fromEntries(many.map((at) => [name(at), at]));
  expect(resultOf({ allOf: many.map(() => ({ maxProperties: 1 })) }, wide)).toBe('unknown');
  expect(resultOf({ allOf: many.map(() => ({ maxLength: 1 })) }, 'a'.repeat(60_000))).toBe('unknown');
  expect(
    resultOf(
      { uniqueItems: true },
      many.map((at) => [at]),
    ),
  ).toBe('holds');
  expect(resultOf({ format: 'url' }, `http://${'a'.repeat(60_000)}`)).toBe('holds');
});

test.each([
  [{ $ref: '#rest', $defs: { rest: { $anchor: 'rest' } } }, /must be "#" or begin with "#\/"/],
  [{ $dynamicRef: '#rest' }, /leads out of it/],
  [{ $recursiveRef: '#' }, /leads out of it/],
  [{ $ref: 'https://a.example/schema' }, /leads out of it/],
  [{ $ref: '#/$defs/none' }, /leads nowhere/],
  [{ $ref: '#/default', default: { type: 'string' } }, /leads nowhere/],
  [{ $defs: { a: { $id: 'https://a.example/schema' } } }, /an "\$id" of its own/],
  [{ items: { pattern: '(' } }, /regular expression/],
])('one that could only be guessed at is refused: %j', (schema, said) => {
  expect(() => openJsonSchema(schema, { patterns: true })).toThrow(said);
});

test('names of the value are copied where they are told alone, however long they are', () => {
  const value = { ['n'.repeat(400_000)]: Array.from({ length: 200_000 }, () => 1) };
  // Copied at each visit they were 80 GB, and a minute in which the process did nothing else.
  expect(resultOf({ additionalProperties: { items: {} } }, value)).toBe('holds');
});

test('patterns are run where they may be, and refused elsewhere', () => {
  const schema = { properties: { pattern: { pattern: '^a' } }, patternProperties: { '^x': { type: 'number' } } };
  expect(resultOf(schema, { pattern: 'ab', x1: 1 })).toBe('holds');
  expect(resultOf(schema, { pattern: 'b' })).toBe('fails');
  expect(resultOf(schema, { x1: 'one' })).toBe('fails');
  expect(() => openJsonSchema(schema, { patterns: false })).toThrow(/pattern/);
  expect(() => openJsonSchema({ properties: { pattern: { type: 'string' } } }, { patterns: false })).not.toThrow();
});

test.each([
  [{ type: ['integer', 'null'] }, [1, 2.0, null], [1.5, '1', []]],
  [{ const: { a: [1], b: null } }, [{ b: null, a: [1] }], [{ a: [1] }, { a: ['1'], b: null }]],
  [{ enum: [1, 'a', []] }, [1, 'a', []], [2, {}, [[]], null]],
  [{ oneOf: [{ minimum: 2 }, { maximum: 3 }] }, [1, 4], [2, 3]],
  [{ not: { required: ['a'] } }, [{}, { b: 1 }], [{ a: 1 }, 1]],
  [
    // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
    { if: { required: ['a'] }, then: { required: ['b'] }, else: { maxProperties: 0 } },
    [{ a: 1, b: 1 }, {}],
    [{ a: 1 }, { b: 1 }],
  ],
  [
    { dependentRequired: { a: ['b'] }, dependentSchemas: { c: { required: ['a'] } } },
    [{ a: 1, b: 1 }, {}],
    [{ a: 1 }, { c: 1 }],
  ],
  [
    { properties: { a: true }, patternProperties: { '^x': {} }, additionalProperties: false },
    [{ a: 1, x1: 1 }, 1],
    [{ b: 1 }],
  ],
  [{ allOf: [{ properties: { a: true } }], unevaluatedProperties: false }, [{ a: 1 }, {}], [{ a: 1, b: 1 }]],
  [{ propertyNames: { maxLength: 1 } }, [{ a: 1 }], [{ ab: 1 }]],
  [{ prefixItems: [{ type: 'string' }], items: { type: 'number' } }, [['a', 1], []], [[1], ['a', 'b']]],
  [{ items: [{ type: 'string' }], additionalItems: false }, [['a'], []], [['a', 1]]],
  [{ anyOf: [{ prefixItems: [true] }], unevaluatedItems: { type: 'null' } }, [[1, null]], [[1, 2]]],
  [{ contains: { type: 'number' }, maxContains: 1 }, [[1], ['a', 1]], [[], ['a'], [1, 2]]],
  [
    { uniqueItems: true },
    [[1, '1', [], {}], []],
    [
      [1, 1],
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    ],
  ],
  [{ minLength: 1, maxLength: 2 }, ['😀😀', 'a'], ['', 'abc']],
  [{ exclusiveMinimum: 0, multipleOf: 0.1 }, [0.3, 7], [0, 0.35]],
  [{ format: 'date' }, ['2024-02-29'], ['2023-02-29', '2024-2-9', 'today']],
  [
    { format: 'date-time' },
    ['2024-01-01T10:00:00Z', '2024-01-01t10:00:00.5+02:00'],
    ['2024-01-01', '2024-01-01T10:00:00'],
  ],
  [{ format: 'time' }, ['10:00:00', '23:59:60Z'], ['24:00:00', '10:00']],
  [{ format: 'duration' }, ['P1DT2H', 'P3W', 'PT0.5S'], ['P', 'P1', '1D', 'PT']],
  [{ format: 'email' }, ['a.b@c.example'], ['a@b@c', '@c', 'a b@c', 'a@']],
  [{ format: 'hostname' }, ['a-b.example'], ['-a', 'a..b', '']],
  [{ format: 'ipv4' }, ['10.0.0.255'], ['10.0.0.256', '10.0.0', '1e1.0.0.0']],
  [{ format: 'ipv6' }, ['::1', '2001:db8::7'], ['1', ':::', 'a]b']],
  [{ format: 'uri' }, ['https://a.example/b?c#d', 'urn:a:b'], ['/a', 'a b', 'https://']],
  [{ format: 'uuid' }, ['0190163d-8694-739b-aea5-966c26f8ad91'], ['0190163d']],
  [{ format: 'of our own' }, ['anything'], []],
  [{ required: 7, properties: [], allOf: {}, minimum: 'x' }, [{}, 1], []],
] as [object, unknown[], unknown[]][])('%j holds what it should', (schema, holding, failing) => {
  for (const value of holding) expect([value, resultOf(schema, value)]).toEqual([value, 'holds']);
  for (const value of failing) expect([value, resultOf(schema, value)]).toEqual([value, 'fails']);
});
