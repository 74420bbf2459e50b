import type { ModelRequest, PromptMessage } from '#backend';
import { openArgumentCheck } from '#release';

export type AnswerFormat = NonNullable<ModelRequest['format']>;

/** What a schema may weigh; a longer one is the model server's alone to keep to. */
const schemaCharactersMax = 100_000;
/** Schemas that a check may come to by following references; each may name others several times over. */
const visitsMax = 2000;

/**
 * What is wrong with an answer that was to have a format, in words for the model; undefined where it
 * holds. They may name what the answer holds: they are for nobody else. Schemas are interpreted, never
 * compiled; one whose check could hold this process up is left to the model's server.
 */
export function formatProblem(format: AnswerFormat, text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  if (format.type === 'json') {
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : 'it is not a JSON object';
  }
  if (!isCheap(format.schema)) return undefined;
  try {
    return openArgumentCheck(structuredClone(format.schema))(value)[0];
  } catch {
    // A schema that cannot be checked with is the model server's to refuse.
    return undefined;
  }
}

/** Keywords whose check is not bounded by the size of schema and answer. */
const dear = new Set(['pattern', 'patternProperties', 'uniqueItems', '$dynamicRef', '$recursiveRef']);

function isCheap(schema: object): boolean {
  if (JSON.stringify(schema).length > schemaCharactersMax) return false;
  const root = schema as Readonly<Record<string, unknown>>;
  let visits = 0;
  const following = new Set<string>();
  const visit = (node: unknown): boolean => {
    if (typeof node !== 'object' || node === null) return true;
    visits += 1;
    if (visits > visitsMax) return false;
    return Object.entries(node).every(([key, inner]: [string, unknown]) => {
      if (dear.has(key)) return false;
      if (key === '$defs' || key === 'definitions') return true;
      return key === '$ref' ? follow(inner) : visit(inner);
    });
  };
  const follow = (reference: unknown): boolean => {
    if (reference === '#' || following.has(String(reference))) return true;
    const name = /^#\/(\$defs|definitions)\/([^/~%]+)$/.exec(String(reference));
    if (name === null) return false;
    following.add(String(reference));
    const holds = visit((root[name[1]!] as Readonly<Record<string, unknown>> | undefined)?.[name[2]!]);
    following.delete(String(reference));
    return holds;
  };
  return visit(root);
}

/** What a model is told for its one repair. */
export function repairMessages(answer: string, problem: string): readonly PromptMessage[] {
  return [
    { role: 'assistant', content: answer },
    {
      role: 'user',
      content: `Your answer does not keep to the format that was asked for: ${problem}. Answer again with the corrected JSON alone.`,
    },
  ];
}
