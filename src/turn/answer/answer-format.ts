import type { ModelRequest, PromptMessage } from '#backend';
import { openJsonSchema } from '#release';

export type AnswerFormat = NonNullable<ModelRequest['format']>;

/**
 * What is wrong with an answer that was to have a format, in words for the model; undefined where it
 * holds. They may name what the answer holds: they are for nobody else. What cannot be checked within
 * bounds, and every schema with a pattern, is left to the model's server to keep to.
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
  return schemaProblem(format.schema, value);
}

function schemaProblem(schema: object, value: unknown): string | undefined {
  let check: ReturnType<typeof openJsonSchema>;
  try {
    check = openJsonSchema(schema, { patterns: false });
  } catch {
    // A schema that cannot be checked with is the model server's to refuse.
    return undefined;
  }
  const verdict = check(value);
  return verdict.result === 'fails' ? verdict.problems[0] : undefined;
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
