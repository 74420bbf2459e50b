import { z } from 'zod';
import { shown, UsherError } from '#base';
import type { TurnRequest } from '#turn';

type FunctionTool = TurnRequest['tools'][number];

const nameSchema = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, dashes or underscores');
const parametersSchema = z.record(z.string(), z.unknown());
const strictSchema = z.boolean().describe('Whether the model must keep to the schema.');

/** A custom tool as both wires describe it; they write a grammar differently. */
export const customShape = {
  name: nameSchema.describe('What the tool is called.'),
  description: z.string().nullish().describe('When to use it and how, for the model.'),
};
export const grammarShape = {
  definition: z.string().describe('The grammar.'),
  syntax: z.enum(['lark', 'regex']).describe('What it is written in.'),
};

/** `format` as Chat Completions writes it. */
export function readCustom(
  { name, description }: { readonly name: string; readonly description?: string | null | undefined },
  format: object | null | undefined,
): FunctionTool {
  const custom = format == null ? {} : { format };
  return { name, ...(description == null ? {} : { description }), custom };
}

/** A function as both wires describe it: nested in Chat Completions, flat in Responses. */
export const functionShape = {
  name: nameSchema.describe('What the function is called.'),
  description: z.string().nullish().describe('When to use it and how, for the model.'),
  parameters: parametersSchema.nullish().describe('JSON Schema of its arguments.'),
  strict: strictSchema.nullish(),
};
const functionSchema = z.object(functionShape);

export function readFunction(tool: z.infer<typeof functionSchema>): FunctionTool {
  return {
    name: tool.name,
    ...(tool.description == null ? {} : { description: tool.description }),
    ...(tool.parameters == null ? {} : { parameters: tool.parameters }),
    ...(tool.strict == null ? {} : { strict: tool.strict }),
  };
}

export const choiceWordSchema = z.enum(['auto', 'none', 'required']);
type ChoiceWord = z.infer<typeof choiceWordSchema>;

export const allowedModeSchema = z
  .enum(['auto', 'required'])
  .describe('Whether the model may, or must, ask for one of them.');

/** The tools that a choice leaves, all where it names none. @throws UsherError `invalid_request` where it names one that is not given */
export function allowedAmong<Tool extends { readonly type: string; readonly name?: string }>(
  tools: readonly Tool[],
  allowed: readonly { readonly type: string; readonly name?: string }[] | undefined,
): readonly Tool[] {
  if (allowed === undefined) return tools;
  const isSame = (one: (typeof allowed)[number], tool: Tool): boolean =>
    one.type === tool.type && one.name === tool.name;
  const strange = allowed.find((one) => !tools.some((tool) => isSame(one, tool)));
  if (strange !== undefined) {
    const message = `"tool_choice" allows "${shown(strange.name ?? strange.type)}", which is not among "tools". Give it there, or leave it out here.`;
    throw new UsherError('invalid_request', message, { param: 'tool_choice' });
  }
  return tools.filter((tool) => allowed.some((one) => isSame(one, tool)));
}

export const parallelSchema = z.boolean().describe('Whether one answer may ask for several functions.');

/** `json_schema` as both wires describe it. */
export const jsonSchemaShape = {
  name: nameSchema.describe('What the form is called.'),
  description: z.string().nullish().describe('What the answer is for.'),
  schema: parametersSchema.describe('The JSON Schema of the answer.'),
  strict: strictSchema.nullish(),
};

type WireFormat =
  | { readonly type: 'text' | 'json_object' }
  | {
      readonly type: 'json_schema';
      readonly name: string;
      readonly schema?: object | null | undefined;
      readonly strict?: boolean | null | undefined;
    };

/** The form of the answer; undefined for text. */
export function readFormat(format: WireFormat | null | undefined): TurnRequest['format'] {
  switch (format?.type) {
    case 'json_object':
      return { type: 'json' };
    case 'json_schema':
      // Without a schema any JSON will do.
      return { type: 'schema', name: format.name, schema: format.schema ?? {}, strict: format.strict ?? false };
    case 'text':
    case undefined:
      return undefined;
  }
}

/** The function that must be asked for, or whether one may. */
export function readChoice(
  choice: ChoiceWord | { readonly type: 'function' | 'custom'; readonly name: string } | null | undefined,
): TurnRequest['toolChoice'] {
  if (choice == null) return undefined;
  if (typeof choice === 'string') return choice;
  return choice.type === 'custom' ? { name: choice.name, custom: true } : { name: choice.name };
}

/** Search over the assistant's knowledge, as Responses describes it. */
export const fileSearchSchema = z.object({
  type: z.literal('file_search'),
  vector_store_ids: z
    .array(z.string())
    .nullish()
    .describe("Absent, empty, or the assistant's own name: its knowledge is what is searched."),
  max_num_results: z
    .number()
    .int()
    .min(1)
    .max(50)
    .nullish()
    .describe('Passages of one search at the most. Absent: as the assistant has it.'),
  ranking_options: z
    .looseObject({
      score_threshold: z
        .number()
        .min(0)
        .max(1)
        .nullish()
        .describe('Passages that score less are left out. The best one of a search has 1, others their share of that.'),
    })
    .nullish()
    .describe('How passages are ranked; of it the threshold alone is read.'),
  filters: z.null('must be left out: documents of the knowledge have no attributes to filter by').optional(),
});

/** How the model may search; undefined where the caller does not ask for it. @throws UsherError `invalid_request` */
export function readFileSearch(
  tools: readonly z.infer<typeof fileSearchSchema>[],
  model: string,
): TurnRequest['fileSearch'] {
  const [tool, another] = tools;
  if (tool === undefined) return undefined;
  if (another !== undefined) {
    throw new UsherError('invalid_request', 'Send one tool of the type "file_search", not several.', {
      param: 'tools',
    });
  }
  const assistant = model.split('@')[0]!;
  const strange = tool.vector_store_ids?.find((id) => id !== assistant);
  if (strange !== undefined) {
    const message = `There is no vector store "${shown(strange)}". Leave "vector_store_ids" empty, or name the assistant: "${shown(assistant)}".`;
    throw new UsherError('not_found', message, { param: 'tools' });
  }
  return {
    resultsMax: tool.max_num_results ?? undefined,
    scoreMin: tool.ranking_options?.score_threshold ?? undefined,
  };
}
