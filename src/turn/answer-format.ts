import type { ModelRequest, PromptMessage } from '#backend';
import { openArgumentCheck } from '#release';

export type AnswerFormat = NonNullable<ModelRequest['format']>;

/** What a schema may weigh; a longer one is the backend's alone to keep to. */
const schemaCharactersMax = 100_000;

/**
 * What is wrong with an answer that was to have a format, in a sentence without its content;
 * undefined where it holds. Schemas are interpreted, never compiled. Patterns are left to the model's
 * server: a hostile one could hold this process up.
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
  const schema = JSON.stringify(format.schema);
  if (schema.length > schemaCharactersMax) return undefined;
  try {
    const [problem] = openArgumentCheck(JSON.parse(schema, withoutPatterns) as object)(value);
    return problem;
  } catch {
    // A schema that cannot be checked with is the model server's to refuse.
    return undefined;
  }
}

function withoutPatterns(key: string, value: unknown): unknown {
  const isPattern = (key === 'pattern' && typeof value === 'string') || key === 'patternProperties';
  return isPattern ? undefined : value;
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
