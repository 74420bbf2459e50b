import { Validator, type OutputUnit } from '@cfworker/json-schema';

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
 * @throws Error where the schema cannot be checked with: a reference that leads nowhere, a broken pattern
 */
export function openArgumentCheck(schema: object): ArgumentCheck {
  // The validator writes marks into the schema that it is given.
  const validator = new Validator(structuredClone(schema), '2020-12', false);
  validator.validate({});
  return (given) => {
    const { valid, errors } = validator.validate(given);
    if (valid) return [];
    const inner = errors.filter(({ keyword }) => !outer.has(keyword));
    return [...new Set((inner.length === 0 ? errors : inner).map((unit) => sentenceOf(unit)))].slice(0, toldMax);
  };
}

function sentenceOf({ instanceLocation, error, keyword }: OutputUnit): string {
  const place = instanceLocation === '#' ? 'the arguments' : instanceLocation.slice(2);
  return keyword === 'false' || error === 'False boolean schema.'
    ? `${place}: is not an argument of this tool`
    : `${place}: ${error}`;
}
