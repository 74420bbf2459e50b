import { openJsonSchema } from './json-schema.ts';

/** Sentences that say what is wrong with a call's arguments; none where they fit. */
export type ArgumentCheck = (given: unknown) => readonly string[];

/**
 * A check of arguments against a tool's JSON Schema, with its patterns: they are the owner's own, since
 * none is taken over from a server that lists its tools.
 *
 * @throws Error where the schema cannot be checked with
 */
export function openArgumentCheck(schema: object): ArgumentCheck {
  const check = openJsonSchema(schema, { patterns: true });
  return (given) => {
    const verdict = check(given);
    switch (verdict.result) {
      case 'holds':
        return [];
      case 'fails':
        return verdict.problems;
      case 'unknown':
        return ['the arguments: are nested more deeply, or are more, than can be checked.'];
    }
  };
}
