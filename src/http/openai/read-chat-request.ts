import { z } from 'zod';
import { newId, UsherError } from '#base';
import type { ContentPart, Item } from '#conversation';
import type { TurnRequest, TurnRooms } from '#turn';
import type { Exchange } from '../exchange.ts';
import { metadataSchema, modelSchema, streamSchema, subjectSchema, userSchema } from './read-body.ts';
import { argumentsSchema, calledNameSchema, callIdSchema, detailSchema, imageUrlSchema } from './read-items.ts';
import {
  asksFunctions,
  calledFunctionSchema,
  functionsShape,
  readCalledFunction,
  tieResults,
  type NamedResult,
} from './read-functions.ts';
import { readCaller } from './read-caller.ts';
import { FileParts, fileShape, readImage, type PartPlace } from './read-file.ts';
import {
  effortSchema,
  readParameters,
  samplingShape,
  seedSchema,
  tokensSchema,
  topLogprobsSchema,
} from './read-parameters.ts';
import {
  allowedAmong,
  allowedModeSchema,
  choiceWordSchema,
  customShape,
  functionShape,
  grammarShape,
  jsonSchemaShape,
  parallelSchema,
  readChoice,
  readCustom,
  readFormat,
  readFunction,
} from './read-tools.ts';
import { plainSettings, type ResponseSettings } from './response-body.ts';

const textPartSchema = z.object({ type: z.literal('text'), text: z.string().describe('The text.') });
const partSchema = z
  .discriminatedUnion('type', [
    textPartSchema,
    z.object({ type: z.literal('refusal'), refusal: z.string().describe('Why the assistant would not answer.') }),
    z.object({ type: z.literal('file'), file: z.object(fileShape) }),
    z.object({
      type: z.literal('image_url'),
      image_url: z.object({ url: imageUrlSchema, detail: detailSchema.nullish() }),
    }),
  ])
  .meta({ id: 'message-part', description: 'A piece of a message as Chat Completions writes it.' });
const contentSchema = z.union([z.string(), z.array(partSchema)]);
/** A model's server takes no more of a result. */
const returnedSchema = z.union([z.string(), z.array(textPartSchema)]);

const speakerSchema = z.string().min(1).max(128).describe('Who of several speaks, for the model to tell them apart.');

const messageSchema = z.discriminatedUnion('role', [
  z.object({
    role: z.enum(['system', 'developer', 'user']),
    name: speakerSchema.nullish(),
    content: contentSchema.describe('What is said.'),
  }),
  z.object({
    role: z.literal('assistant'),
    name: speakerSchema.nullish(),
    content: contentSchema.nullish().describe('What the assistant said.'),
    refusal: z.string().nullish().describe('Why it would not answer, as it was answered.'),
    function_call: calledFunctionSchema.nullish().describe('The older form of `tool_calls`.'),
    reasoning_content: z.string().nullish().describe('What it thought, as it was answered.'),
    tool_calls: z
      .array(
        z.discriminatedUnion('type', [
          z.object({
            id: callIdSchema,
            type: z.literal('function'),
            function: z.object({ name: calledNameSchema, arguments: argumentsSchema }),
          }),
          z.object({
            id: callIdSchema,
            type: z.literal('custom'),
            custom: z.object({ name: calledNameSchema, input: z.string().describe('What the tool is given.') }),
          }),
        ]),
      )
      .nullish()
      .describe('The functions and custom tools that it asked for.'),
  }),
  z.object({
    role: z.literal('function'),
    name: calledNameSchema,
    content: returnedSchema.nullish().describe('What the function returned; the older form of a `tool` message.'),
  }),
  z.object({
    role: z.literal('tool'),
    tool_call_id: callIdSchema,
    content: returnedSchema.describe('What the function returned.'),
  }),
]);

/** The body of `POST /v1/chat/completions`. */
export const chatCompletionSchema = z.looseObject({
  model: modelSchema,
  messages: z.array(messageSchema).min(1).describe('The conversation so far, oldest first.'),
  stream: streamSchema.nullish(),
  stream_options: z
    .looseObject({ include_usage: z.boolean().optional().describe('A last chunk tells the tokens used.') })
    .nullish()
    .describe('What a stream holds besides the answer.'),
  store: z.boolean().nullish().describe('Whether the turn is kept, encrypted. Absent: false.'),
  metadata: metadataSchema.nullish(),
  user: userSchema.nullish(),
  safety_identifier: subjectSchema.nullish(),
  n: z
    .number()
    .int()
    .min(1)
    .max(8)
    .nullish()
    .describe('Answers to choose from, each a turn of its own. More than one is not stored. Absent: 1.'),
  logprobs: z
    .boolean()
    .nullish()
    .describe('Whether the log probabilities of the answer’s tokens are given, by backends that know them.'),
  top_logprobs: topLogprobsSchema.nullish(),
  ...samplingShape,
  max_tokens: tokensSchema.nullish().describe('The older name of `max_completion_tokens`.'),
  max_completion_tokens: tokensSchema.nullish(),
  stop: z
    .union([z.string(), z.array(z.string()).max(4)])
    .nullish()
    .describe('Up to four texts at which the answer ends.'),
  seed: seedSchema
    .nullish()
    .describe('Asks the model for the same answer to the same question; few models promise it.'),
  presence_penalty: z.number().min(-2).max(2).nullish().describe('Above 0: prefer subjects not yet talked of.'),
  frequency_penalty: z.number().min(-2).max(2).nullish().describe('Above 0: repeat words less.'),
  reasoning_effort: effortSchema.nullish(),
  tools: z
    .array(
      z.discriminatedUnion('type', [
        z.object({ type: z.literal('function'), function: z.object(functionShape) }),
        z.object({
          type: z.literal('custom'),
          custom: z.object({
            ...customShape,
            format: z
              .discriminatedUnion('type', [
                z.object({ type: z.literal('text') }),
                z.object({ type: z.literal('grammar'), grammar: z.object(grammarShape) }),
              ])
              .nullish()
              .describe('What the tool may be given: any text, or text of a grammar.'),
          }),
        }),
      ]),
    )
    .max(128)
    .nullish()
    .describe('Functions and custom tools of the caller that the model may ask for. Applications only.'),
  tool_choice: z
    .union([
      choiceWordSchema,
      z.discriminatedUnion('type', [
        z.object({
          type: z.literal('function'),
          function: z.object({ name: z.string().describe('The function that must be asked for.') }),
        }),
        z.object({
          type: z.literal('custom'),
          custom: z.object({ name: z.string().describe('The custom tool that must be asked for.') }),
        }),
        z.object({
          type: z.literal('allowed_tools'),
          allowed_tools: z.object({
            mode: allowedModeSchema,
            tools: z
              .array(
                z.discriminatedUnion('type', [
                  z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }),
                  z.object({ type: z.literal('custom'), custom: z.object({ name: z.string() }) }),
                ]),
              )
              .min(1)
              .describe('Those of `tools` that may be asked for.'),
          }),
        }),
      ]),
    ])
    .nullish()
    .describe(
      'Whether the model may, must or must not ask for a function, or which. Absent: `auto`, the only one that persons may send.',
    ),
  parallel_tool_calls: parallelSchema.nullish(),
  ...functionsShape,
  response_format: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('text') }),
      z.object({ type: z.literal('json_object') }),
      z.object({
        type: z.literal('json_schema'),
        json_schema: z.object({ ...jsonSchemaShape, schema: jsonSchemaShape.schema.nullish() }),
      }),
    ])
    .nullish()
    .describe('The form of the answer: text, any JSON object, or JSON of a schema. Applications only.'),
});
type ChatBody = z.infer<typeof chatCompletionSchema>;

export async function readChatRequest(
  rooms: Pick<TurnRooms, 'files'>,
  exchange: Exchange,
  body: ChatBody,
): Promise<TurnRequest> {
  const stored = body.store === true;
  const { tool_choice: choice, function_call: called, response_format: format } = body;
  const isLegacy = asksFunctions(body);
  const files = new FileParts(rooms, exchange);
  const input = await Promise.all(body.messages.map((message, nth) => readMessage(message, files, `messages[${nth}]`)));
  return {
    principal: exchange.principal,
    model: body.model,
    subject: body.safety_identifier ?? body.user ?? undefined,
    conversation: undefined,
    previous: undefined,
    stored,
    background: false,
    mayApprove: false,
    completion: true,
    ...readCaller(exchange, body),
    toolCallsMax: undefined,
    whenFull: undefined,
    compaction: undefined,
    input: tieResults(input.flat()),
    instructions: undefined,
    parameters: readParameters({ ...body, max_output_tokens: body.max_completion_tokens ?? body.max_tokens }),
    extra: readExtra(body),
    fileSearch: undefined,
    tools: isLegacy ? (body.functions ?? []).map(readFunction) : readTools(body),
    toolChoice: isLegacy
      ? readChoice(typeof called === 'object' && called !== null ? { type: 'function', name: called.name } : called)
      : readChoice(typeof choice === 'object' && choice !== null ? namedChoice(choice) : choice),
    parallelCalls: isLegacy ? false : (body.parallel_tool_calls ?? undefined),
    format: readFormat(format?.type === 'json_schema' ? { ...format.json_schema, type: format.type } : format),
    sealsReasoning: false,
    settings: stored ? JSON.stringify(settingsOf(body, isLegacy)) : '',
  };
}

/** What Usher says itself, or keeps for itself, however it is spelt. */
const reserved = new Set([
  'stream_options',
  'response_format',
  'conversation',
  'continue_final_message',
  'add_generation_prompt',
]);
const known = new Set(Object.keys(chatCompletionSchema.shape));
const extraCharactersMax = 65_536;

/** What it is read again with. */
function settingsOf({ metadata }: ChatBody, isLegacy: boolean): ResponseSettings {
  return { ...plainSettings, metadata: metadata ?? {}, ...(isLegacy ? { asksFunctions: true } : {}) };
}

/** Parameters that are not known here go to the backend as they came. */
function readExtra(body: ChatBody): Readonly<Record<string, unknown>> {
  const entries = Object.entries(body).filter(([name]) => !known.has(name) && !reserved.has(name));
  const asked = { logprobs: body.logprobs, top_logprobs: body.top_logprobs };
  for (const [name, value] of Object.entries(asked)) if (value != null && value !== false) entries.push([name, value]);
  const extra = Object.fromEntries(entries);
  if (JSON.stringify(extra).length > extraCharactersMax) {
    throw new UsherError(
      'too_large',
      'The parameters that are passed on to the model server are too long. Shorten them.',
    );
  }
  return extra;
}

async function readMessage(
  message: ChatBody['messages'][number],
  files: FileParts,
  at: string,
): Promise<(Item | NamedResult)[]> {
  if (message.role === 'function') {
    return [{ kind: 'named-result', name: message.name, output: plainText(message.content ?? '') }];
  }
  if (message.role === 'tool') {
    return [
      {
        kind: 'result',
        id: newId('result'),
        callId: message.tool_call_id,
        output: plainText(message.content),
        status: 'completed',
      },
    ];
  }
  const spoken: Item = {
    kind: 'message',
    id: newId('message'),
    role: message.role,
    ...(message.name == null ? {} : { name: message.name }),
    content: await readContent(message.content ?? refusalOf(message) ?? '', files, { role: message.role, at }),
    status: 'completed',
  };
  if (message.role !== 'assistant') return [spoken];
  const thought = message.reasoning_content ?? '';
  const thoughts: Item[] =
    thought === '' ? [] : [{ kind: 'reasoning', id: newId('reasoning'), text: thought, status: 'completed' }];
  const called = message.function_call == null ? [] : [readCalledFunction(message.function_call)];
  const calls = [...(message.tool_calls ?? []).map(readCall), ...called];
  const isSilent = calls.length > 0 && plainText(message.content ?? '') === '';
  return [...thoughts, ...(isSilent ? [] : [spoken]), ...calls];
}

type ToolCall = NonNullable<Extract<ChatBody['messages'][number], { role: 'assistant' }>['tool_calls']>[number];

function readCall(call: ToolCall): Item {
  const head = { kind: 'call', id: newId('call'), callId: call.id, status: 'completed' } as const;
  return call.type === 'custom'
    ? { ...head, name: call.custom.name, arguments: call.custom.input, custom: true }
    : { ...head, name: call.function.name, arguments: call.function.arguments };
}

function readTool(tool: NonNullable<ChatBody['tools']>[number]): TurnRequest['tools'][number] {
  return tool.type === 'custom' ? readCustom(tool.custom, tool.custom.format) : readFunction(tool.function);
}

/** Those that may be asked for. */
function readTools({ tools, tool_choice: choice }: ChatBody): TurnRequest['tools'] {
  const allowed =
    typeof choice === 'object' && choice?.type === 'allowed_tools' ? choice.allowed_tools.tools : undefined;
  return allowedAmong((tools ?? []).map(flatTool), allowed?.map(flatTool)).map(({ tool }) => readTool(tool));
}

type Named = Exclude<NonNullable<ChatBody['tool_choice']>, string>;

/** With its name beside its type, as the other wire has it. */
function flatTool<Tool extends Exclude<Named, { type: 'allowed_tools' }>>(
  tool: Tool,
): { readonly type: Tool['type']; readonly name: string; readonly tool: Tool } {
  return { type: tool.type, name: tool.type === 'custom' ? tool.custom.name : tool.function.name, tool };
}

function namedChoice(choice: Named): Parameters<typeof readChoice>[0] {
  return choice.type === 'allowed_tools' ? choice.allowed_tools.mode : flatTool(choice);
}

/** A refusal as an answer writes it: beside an empty content. */
function refusalOf(message: ChatBody['messages'][number]): z.infer<typeof contentSchema> | undefined {
  const refusal = message.role === 'assistant' ? message.refusal : undefined;
  return refusal == null ? undefined : [{ type: 'refusal', refusal }];
}

async function readContent(
  content: z.infer<typeof contentSchema>,
  files: FileParts,
  { role, at }: PartPlace,
): Promise<ContentPart[]> {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  const parts = content.map(async (part, nth): Promise<ContentPart> => {
    const place = `${at}.content[${nth}]`;
    switch (part.type) {
      case 'file':
        return files.read(part.file, { role, at: `${place}.file` });
      case 'text':
        return { type: 'text', text: part.text };
      case 'refusal':
        return { type: 'refusal', text: part.refusal };
      case 'image_url':
        return readImage(part.image_url, { role, at: place });
    }
  });
  return Promise.all(parts);
}

function plainText(content: z.infer<typeof contentSchema>): string {
  return typeof content === 'string'
    ? content
    : content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
