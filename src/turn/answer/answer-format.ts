import type { ModelRequest, PromptMessage } from '#backend';
import { openArgumentCheck } from '#release';

export type AnswerFormat = NonNullable<ModelRequest['format']>;

/** What a schema may weigh; a longer one is the model server's alone to keep to. */
const schemaCharactersMax = 100_000;
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
  if (isDear(format.schema)) return undefined;
  try {
    return openArgumentCheck(format.schema)(value)[0];
  } catch {
    // A schema that cannot be checked with is the model server's to refuse.
    return undefined;
  }
}

/** Keywords whose check may take far longer than schema and answer are long. */
const dearKeywords = /"(?:pattern|patternProperties|uniqueItems)":/;

function isDear(schema: object): boolean {
  const text = JSON.stringify(schema);
  return text.length > schemaCharactersMax || dearKeywords.test(text);
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
