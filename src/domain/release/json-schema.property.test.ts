import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkStepsMax, openJsonSchema } from './json-schema.ts';

const definitionsMax = 8;
const reference = fc.nat({ max: definitionsMax }).map((at) => ({ $ref: at === 0 ? '#' : `#/$defs/d${at}` }));
const text = 'http://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';
const leaf = fc.constantFrom<object>(
  { type: 'string', format: 'url' },
  { maxLength: 9, format: 'uri' },
  { uniqueItems: true },
  { enum: [[text], { a: [text] }, text] },
  { required: ['x', 'y'], maxProperties: 0 },
);
const several = fc.array(fc.oneof(reference, leaf), { minLength: 1, maxLength: 4 });
/** Every way by which one value is held against several schemas, and each of those against several more. */
const hostile = fc
  .record(
    {
      allOf: several,
      anyOf: several,
      oneOf: several,
      not: reference,
      if: reference,
      // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
      then: reference,
      else: reference,
      $ref: reference.map(({ $ref }) => $ref),
      properties: fc.dictionary(fc.constantFrom('a', 'b'), reference),
      additionalProperties: reference,
      propertyNames: leaf,
      dependentSchemas: fc.dictionary(fc.constantFrom('a', 'b'), reference),
      unevaluatedProperties: reference,
      items: reference,
      contains: reference,
      unevaluatedItems: reference,
    },
    { requiredKeys: [] },
  )
  .map((schema) => schema as object);
const schemas = fc
  .tuple(hostile, fc.array(fc.oneof({ weight: 4, arbitrary: hostile }, leaf), { minLength: 8, maxLength: 8 }))
  .map(([root, inner]) =>
    Object.assign(root, { $defs: Object.fromEntries(inner.map((each, at) => [`d${at + 1}`, each])) }),
  );
const deep = Array.from({ length: 40 }).reduce<object>((a, _, at) => ({ a, b: [a, text, at] }), {});
const values = fc.constantFrom<unknown>(
  deep,
  {},
  7,
  text,
  Array.from({ length: 300 }, (_, at) => ({ a: [at] })),
);

/** The same, and each look at it is counted. */
function counted(given: unknown, looked: () => void): unknown {
  const known = new WeakMap<object, object>();
  const wrap = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value;
    const made = known.get(value) ?? new Proxy(value, handler);
    known.set(value, made);
    return made;
  };
  const handler: ProxyHandler<object> = {
    get: (target, name, receiver) => (looked(), wrap(Reflect.get(target, name, receiver))),
    getOwnPropertyDescriptor: (target, name) => (looked(), Reflect.getOwnPropertyDescriptor(target, name)),
  };
  return wrap(given);
}

test('whatever references lead to, a check looks at no more than its steps allow', () => {
  let unknown = 0;
  fc.assert(
    fc.property(schemas, values, (schema, value) => {
      let looks = 0;
      const look = (): void => void (looks += 1);
      const check = openJsonSchema(counted(schema, look) as object, { patterns: false });
      looks = 0;
      const { result } = check(counted(value, look));
      expect(looks).toBeLessThan(checkStepsMax * 16);
      if (result === 'unknown') unknown += 1;
    }),
    { numRuns: 100 },
  );
  expect(unknown).toBeGreaterThan(0);
}, 120_000);
