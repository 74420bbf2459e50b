import { z } from 'zod';
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
      readonly schema: object;
      readonly strict?: boolean | null | undefined;
    };

/** The form of the answer; undefined for text. */
export function readFormat(format: WireFormat | null | undefined): TurnRequest['format'] {
  switch (format?.type) {
    case 'json_object':
      return { type: 'json' };
    case 'json_schema':
      return { type: 'schema', name: format.name, schema: format.schema, strict: format.strict ?? false };
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
