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
  const format: AnswerFormat = { type: 'schema', name: 'x', schema, strict: false };
  expect(formatProblem(format, JSON.stringify({ a: `${'a'.repeat(50)}!` }))).toBeUndefined();
});

test('a schema whose references multiply is left to the model server; one that refers to itself is checked', () => {
  const fan = Object.fromEntries(
    Array.from({ length: 30 }, (_, index) => {
      const next = { $ref: `#/$defs/d${index + 1}` };
      return [`d${index}`, index === 29 ? { type: 'object' } : { allOf: [next, next] }];
    }),
  );
  const format = (schema: object): AnswerFormat => ({ type: 'schema', name: 'x', schema, strict: false });
  expect(formatProblem(format({ $ref: '#/$defs/d0', $defs: fan }), '7')).toBeUndefined();
  const list = { type: 'object', properties: { next: { $ref: '#' }, row: { type: 'integer' } }, required: ['row'] };
  expect(formatProblem(format(list), '{"row":1,"next":{"row":2}}')).toBeUndefined();
  expect(formatProblem(format(list), '{"row":1,"next":{}}')).toMatch(/row/);
});

test('whatever the answer and the schema are, nothing is thrown', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (schema, value) => {
      const format: AnswerFormat = { type: 'schema', name: 'x', schema: { properties: schema }, strict: false };
      expect(() => formatProblem(format, JSON.stringify(value))).not.toThrow();
    }),
  );
});
