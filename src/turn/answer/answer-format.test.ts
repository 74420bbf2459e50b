import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatProblem, type AnswerFormat } from './answer-format.ts';

const seat: AnswerFormat = {
  type: 'schema',
  name: 'seat',
  schema: {
    type: 'object',
    properties: { row: { type: 'integer', minimum: 1 }, side: { enum: ['left', 'right'] } },
    required: ['row'],
    additionalProperties: false,
  },
  strict: true,
};

const format = (schema: object): AnswerFormat => ({ type: 'schema', name: 'x', schema, strict: false });

test.each([
  ['{"row":7}', undefined],
  ['{"row":7,"side":"left"}', undefined],
  ['{"row":0}', /row/],
  ['{"row":7,"side":"up"}', /side/],
  ['{}', /row/],
  ['{"row":7,"seat":1}', /seat/],
  ['{"row":7', /not JSON/],
  ['7', /object/],
])('an answer is held against its schema: %s', (text, expected) => {
  const problem = formatProblem(seat, text);
  if (expected === undefined) expect(problem).toBeUndefined();
  else expect(problem).toMatch(expected);
});

test.each([
  ['{"a":1}', undefined],
  ['[1]', 'it is not a JSON object'],
  ['null', 'it is not a JSON object'],
  ['{', 'it is not JSON'],
])('any JSON object is one: %s', (text, expected) => {
  expect(formatProblem({ type: 'json' }, text)).toBe(expected);
});

test('a pattern that would take for ever is left to the model server', () => {
  const schema = { type: 'object', properties: { a: { type: 'string', pattern: '^(a+)+$' } } };
  expect(formatProblem(format(schema), JSON.stringify({ a: `${'a'.repeat(50)}!` }))).toBeUndefined();
});

const fan = (last: object, next: (at: number) => object): object => ({
  ...next(0),
  $defs: Object.fromEntries(
    Array.from({ length: 60 }, (_, at) => [`d${at}`, at === 59 ? last : { $anchor: `d${at}`, ...next(at + 1) }]),
  ),
});
const deep = JSON.stringify(Array.from({ length: 60 }).reduce<object>((n) => ({ n }), {}));
const twice = (schema: object): object[] => [schema, schema];
const self = { $ref: '#' };

test.each([
  ['its definitions, twice each', fan({}, (at) => ({ allOf: twice({ $ref: `#/$defs/d${at}` }) }))],
  ['its anchors, twice each', fan({ $anchor: 'd59' }, (at) => ({ allOf: twice({ $ref: `#d${at}` }) }))],
  [
    'itself twice, a step further down',
    { allOf: [{ properties: { n: self } }, { properties: { n: self } }], items: true },
  ],
  ['itself, in the same place', { anyOf: [self, self] }],
])('a schema that leads on and on is left to the model server: to %s', (_name, schema) => {
  expect(formatProblem(format(schema), deep)).toBeUndefined();
});

test('a schema that refers to itself is checked', () => {
  const list = { type: 'object', properties: { next: self, row: { type: 'integer' } }, required: ['row'] };
  expect(formatProblem(format(list), '{"row":1,"next":{"row":2}}')).toBeUndefined();
  expect(formatProblem(format(list), '{"row":1,"next":{}}')).toMatch(/row/);
});

test('an address of any length is looked at in its time', () => {
  const schema = { type: 'string', format: 'url' };
  expect(formatProblem(format(schema), JSON.stringify(`http://${'a'.repeat(200)}!`))).toBeUndefined();
  expect(formatProblem(format(schema), '"row seven"')).toMatch(/format "url"/);
});

test('whatever the answer and the schema are, nothing is thrown', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (schema, value) => {
      expect(() => formatProblem(format({ properties: schema }), JSON.stringify(value))).not.toThrow();
    }),
  );
});
