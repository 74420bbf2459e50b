import { dereference, Validator, type OutputUnit, type Schema } from '@cfworker/json-schema';
import { hasBoundedReferences } from './bounded-references.ts';

/** Sentences that say what is wrong with a call's arguments; none where they fit. */
export type ArgumentCheck = (given: unknown) => readonly string[];

const toldMax = 5;
/** These only say that something below them is wrong, which is told there. */
const outer = new Set([
  'properties',
  'items',
  'prefixItems',
  'additionalItems',
  '$ref',
  'allOf',
  'anyOf',
  'oneOf',
  'patternProperties',
]);

/**
 * A check of arguments against a JSON Schema (2020-12). It interprets the schema: one that somebody
 * else wrote never becomes code.
 *
 * @throws Error where the schema cannot be checked with: a reference that leads nowhere, references without a sensible end, a broken pattern
 */
export function openArgumentCheck(schema: object): ArgumentCheck {
  if (!hasBoundedReferences(schema)) throw new Error('its references multiply beyond what can be followed');
  // Marks are written into the schema that is given.
  const marked = structuredClone(schema);
  refuseLooseEnds(dereference(marked));
  const validator = new Validator(marked, '2020-12', false);
  validator.validate({});
  return (given) => {
    const checked = checkedBy(validator, given);
    if (checked === undefined) return ['the arguments: are nested more deeply than can be checked.'];
    const { valid, errors } = checked;
    if (valid) return [];
    const inner = errors.filter(({ keyword }) => !outer.has(keyword));
    return [...new Set((inner.length === 0 ? errors : inner).map((unit) => sentenceOf(unit)))].slice(0, toldMax);
  };
}

/** Undefined where a schema that refers to itself has no end, or the arguments hardly one. */
function checkedBy(validator: Validator, given: unknown): ReturnType<Validator['validate']> | undefined {
  try {
    return validator.validate(given);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** What would only throw when an argument comes to it. */
function refuseLooseEnds(schemas: Readonly<Record<string, Schema | boolean>>): void {
  for (const schema of Object.values(schemas)) {
    if (typeof schema === 'boolean') continue;
    const { $ref, __absolute_ref__: target = $ref, pattern, patternProperties } = schema;
    if (target !== undefined && schemas[target] === undefined) throw new Error(`${$ref} leads nowhere`);
    for (const each of [...(pattern === undefined ? [] : [pattern]), ...Object.keys(patternProperties ?? {})]) {
      new RegExp(each, 'u').test('');
    }
  }
}

function sentenceOf({ instanceLocation, error, keyword }: OutputUnit): string {
  const place = instanceLocation === '#' ? 'the arguments' : instanceLocation.slice(2);
  return keyword === 'false' || error === 'False boolean schema.'
    ? `${place}: is not an argument of this tool`
    : `${place}: ${error}`;
}
