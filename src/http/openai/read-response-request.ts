import { z } from 'zod';
import { UsherError, parseId } from '#base';
import { searchTool } from '#conversation';
import type { TurnRequest } from '#turn';
import type { Exchange } from '../exchange.ts';
import { metadataSchema, modelSchema, streamSchema, subjectSchema, userSchema } from './read-body.ts';
import { inputSchema } from './read-items.ts';
import { effortSchema, readParameters, samplingShape, tokensSchema, topLogprobsSchema } from './read-parameters.ts';
import {
  allowedAmong,
  allowedModeSchema,
  choiceWordSchema,
  customShape,
  fileSearchSchema,
  functionShape,
  grammarShape,
  jsonSchemaShape,
  parallelSchema,
  readChoice,
  readCustom,
  readFileSearch,
  readFormat,
  readFunction,
} from './read-tools.ts';
import { readCaller } from './read-caller.ts';
import { resultsIncluded, type ResponseSettings } from './response-body.ts';
import { turnOfPrevious } from './wire-ids.ts';

const includes = [
  'reasoning.encrypted_content',
  'message.output_text.logprobs',
  'message.input_image.image_url',
  'file_search_call.results',
  'web_search_call.results',
  'web_search_call.action.sources',
  'computer_call_output.output.image_url',
  'code_interpreter_call.outputs',
] as const;

/** The body of `POST /v1/responses`. */
export const responseSchema = z.looseObject({
  model: modelSchema,
  input: inputSchema.describe('What is said: one text of the user, or items.'),
  stream: streamSchema.nullish(),
  store: z
    .boolean()
    .nullish()
    .describe('Whether the response is kept, encrypted, to be read again and followed. Absent: true.'),
  background: z
    .boolean()
    .nullish()
    .describe(
      'Whether it is made without a listener: the answer comes at once, `queued`, and is retrieved or streamed later. Needs `store`.',
    ),
  max_tool_calls: z
    .number()
    .int()
    .min(0)
    .nullish()
    .describe('Calls of the assistant’s own tools at the most; never more than 64.'),
  conversation: z
    .union([z.string(), z.object({ id: z.string().describe('The same, as an object.') })])
    .nullish()
    .describe('The conversation that this turn belongs to: its items come before `input`, and the new ones after.'),
  previous_response_id: z
    .string()
    .nullish()
    .describe('The stored response that this one follows. Not together with `conversation`.'),
  instructions: z
    .string()
    .nullish()
    .describe('Instructions for this turn alone, after those of the assistant. Applications only.'),
  metadata: metadataSchema.nullish(),
  user: userSchema.nullish(),
  safety_identifier: subjectSchema.nullish(),
  include: z
    .array(z.enum(includes))
    .nullish()
    .describe(
      'What is given besides: `reasoning.encrypted_content` of what the model thinks, `message.output_text.logprobs`, `file_search_call.results` of what searches found. The others are known and have no effect.',
    ),
  ...samplingShape,
  max_output_tokens: tokensSchema.nullish(),
  top_logprobs: topLogprobsSchema.nullish(),
  prompt_cache_key: z.string().max(1024).nullish().describe('Passed on to the model’s server, which may know it.'),
  prompt_cache_retention: z.enum(['in_memory', 'in-memory', '24h']).nullish().describe('The same.'),
  service_tier: z.enum(['auto', 'default', 'flex', 'scale', 'priority']).nullish().describe('The same.'),
  reasoning: z
    .looseObject({
      effort: effortSchema.nullish(),
      summary: z
        .enum(['auto', 'concise', 'detailed'])
        .nullish()
        .describe('Given back: models’ own words are told, where their servers tell them.'),
    })
    .nullish()
    .describe('For models that think before they answer.'),
  tools: z
    .array(
      z.discriminatedUnion('type', [
        z.object({ type: z.literal('function'), ...functionShape }),
        z.object({
          type: z.literal('custom'),
          ...customShape,
          format: z
            .discriminatedUnion('type', [
              z.object({ type: z.literal('text') }),
              z.object({ type: z.literal('grammar'), ...grammarShape }),
            ])
            .nullish()
            .describe('What the tool may be given: any text, or text of a grammar.'),
        }),
        fileSearchSchema,
      ]),
    )
    .max(128)
    .nullish()
    .describe(
      'Functions and custom tools of the caller that the model may ask for, and `file_search`: the model searches the assistant’s knowledge itself. Applications only.',
    ),
  tool_choice: z
    .union([
      choiceWordSchema,
      z.discriminatedUnion('type', [
        z.object({
          type: z.enum(['function', 'custom']),
          name: z.string().describe('The function or custom tool that must be asked for.'),
        }),
        z.object({ type: z.literal('file_search') }),
        z.object({
          type: z.literal('allowed_tools'),
          mode: allowedModeSchema,
          tools: z
            .array(
              z.discriminatedUnion('type', [
                z.object({ type: z.enum(['function', 'custom']), name: z.string() }),
                z.object({ type: z.literal('file_search') }),
              ]),
            )
            .min(1)
            .describe('Those of `tools` that may be asked for.'),
        }),
      ]),
    ])
    .nullish()
    .describe(
      'Whether the model may, must or must not ask for a function, or which. Absent: `auto`, the only one that persons may send.',
    ),
  parallel_tool_calls: parallelSchema.nullish(),
  truncation: z
    .enum(['auto', 'disabled'])
    .nullish()
    .describe(
      'What becomes of history that does not fit the context. `auto`: the oldest is left out; `disabled`: the request fails with `context_length_exceeded`. Absent: as the assistant’s owner set.',
    ),
  context_management: z
    .array(
      z.object({
        type: z.literal('compaction'),
        compact_threshold: z
          .number()
          .int()
          .min(1000)
          .nullish()
          .describe('Tokens beyond which it is done. Absent: the share of the context that the owner set.'),
      }),
    )
    .min(1)
    .max(1)
    .nullish()
    .describe(
      'Has the older part of a long conversation summarised by a model before the answer. The summary is an item of the answer. Applications only.',
    ),
  text: z
    .looseObject({
      format: z
        .discriminatedUnion('type', [
          z.object({ type: z.literal('text') }),
          z.object({ type: z.literal('json_object') }),
          z.object({ type: z.literal('json_schema'), ...jsonSchemaShape }),
        ])
        .nullish()
        .describe('The form of the answer: text, any JSON object, or JSON of a schema. Applications only.'),
      verbosity: z
        .enum(['low', 'medium', 'high'])
        .nullish()
        .describe('How much is said. Passed on to the model’s server, which may know it.'),
    })
    .nullish()
    .describe('How the answer is written.'),
});

/** The body of `POST /v1/responses/input_tokens`. */
export const countSchema = responseSchema.extend({
  model: modelSchema.nullish().describe('As of a response. Absent: the assistant that answered before.'),
  input: inputSchema.nullish().describe('What would be said: one text of the user, or items.'),
});

/** The body of `POST /v1/responses/compact`. */
export const compactSchema = responseSchema
  .pick({ previous_response_id: true, user: true, safety_identifier: true })
  .extend({
    model: countSchema.shape.model,
    input: inputSchema.nullish().describe('What was said: one text of the user, or items, oldest first.'),
    instructions: z
      .string()
      .nullish()
      .describe('Instructions that the conversation goes under: what matters to them is kept. Applications only.'),
  });

type ResponseRequest = z.infer<typeof responseSchema>;
type Tool = NonNullable<ResponseRequest['tools']>[number];

export function readResponseRequest(
  exchange: Exchange,
  body: ResponseRequest,
  settings: ResponseSettings,
): Omit<TurnRequest, 'input'> {
  if (settings.conversation !== null && settings.previous_response_id !== null) {
    throw new UsherError('invalid_request', 'Send "conversation" or "previous_response_id", not both.', {
      param: 'previous_response_id',
    });
  }
  if (settings.background && !settings.store) {
    throw new UsherError(
      'invalid_request',
      'A background response must be stored. Leave "store" out, or set it true.',
      {
        param: 'store',
      },
    );
  }
  return {
    principal: exchange.principal,
    model: body.model,
    subject: body.safety_identifier ?? body.user ?? undefined,
    conversation: readConversationId(settings.conversation),
    previous: settings.previous_response_id === null ? undefined : turnOfPrevious(settings.previous_response_id),
    stored: settings.store,
    background: settings.background,
    mayApprove: settings.store,
    completion: false,
    ...readCaller(exchange, body),
    toolCallsMax: body.max_tool_calls ?? undefined,
    whenFull: body.truncation == null ? undefined : body.truncation === 'auto' ? 'truncate' : 'refuse',
    compaction: readCompaction(body.context_management),
    instructions: body.instructions ?? undefined,
    parameters: readParameters({ ...body, reasoning_effort: body.reasoning?.effort }),
    extra: readExtra(body),
    ...readTools(body),
    toolChoice: readChoice(plainChoice(body.tool_choice)),
    parallelCalls: body.parallel_tool_calls ?? undefined,
    format: readFormat(body.text?.format),
    sealsReasoning: body.include?.includes('reasoning.encrypted_content') ?? false,
    settings: settings.store ? JSON.stringify(settings) : '',
  };
}

/** What the model’s server may know; on Chat Completions it is called the same. */
function readExtra(body: ResponseRequest): TurnRequest['extra'] {
  const wanted = body.include?.includes('message.output_text.logprobs') === true || (body.top_logprobs ?? 0) > 0;
  const known = {
    logprobs: wanted ? true : undefined,
    top_logprobs: wanted ? body.top_logprobs : undefined,
    prompt_cache_key: body.prompt_cache_key,
    prompt_cache_retention: body.prompt_cache_retention,
    service_tier: body.service_tier,
    verbosity: body.text?.verbosity,
  };
  return Object.fromEntries(Object.entries(known).filter(([, value]) => value != null));
}

function readCompaction(asked: ResponseRequest['context_management']): TurnRequest['compaction'] {
  const [entry] = asked ?? [];
  return entry === undefined ? undefined : { thresholdTokens: entry.compact_threshold ?? undefined };
}

function plainChoice(choice: ResponseRequest['tool_choice']): Parameters<typeof readChoice>[0] {
  if (typeof choice !== 'object' || choice === null) return choice;
  switch (choice.type) {
    case 'file_search':
      return { type: 'function', name: searchTool };
    case 'allowed_tools':
      return choice.mode;
    case 'function':
    case 'custom':
      return choice;
  }
}

function readTools(body: ResponseRequest): Pick<TurnRequest, 'tools' | 'fileSearch'> {
  const { model, tool_choice: choice } = body;
  const allowed = typeof choice === 'object' && choice?.type === 'allowed_tools' ? choice.tools : undefined;
  const tools = allowedAmong<Tool>(body.tools ?? [], allowed);
  const own = tools.filter((tool) => tool.type !== 'file_search');
  const searches = tools.filter((tool) => tool.type === 'file_search');
  return { tools: own.map(readTool), fileSearch: readFileSearch(searches, model) };
}

export function readSettings(body: ResponseRequest): ResponseSettings {
  const { conversation } = body;
  return {
    conversation: conversation == null ? null : typeof conversation === 'string' ? conversation : conversation.id,
    previous_response_id: body.previous_response_id ?? null,
    instructions: body.instructions ?? null,
    metadata: body.metadata ?? {},
    temperature: body.temperature ?? null,
    top_p: body.top_p ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    tool_choice: body.tool_choice ?? 'auto',
    tools: (body.tools ?? []).map(writeTool),
    text: { ...body.text, format: body.text?.format ?? { type: 'text' } },
    store: body.store ?? true,
    background: body.background ?? false,
    ...(body.include?.includes(resultsIncluded) === true ? { showsFound: true } : {}),
    ...(body.max_tool_calls == null ? {} : { max_tool_calls: body.max_tool_calls }),
    reasoning: { effort: body.reasoning?.effort ?? null, summary: body.reasoning?.summary ?? null },
    safety_identifier: body.safety_identifier ?? null,
    ...(body.user == null ? {} : { user: body.user }),
    ...(body.truncation == null ? {} : { truncation: body.truncation }),
    ...(body.top_logprobs == null ? {} : { top_logprobs: body.top_logprobs }),
    ...(body.prompt_cache_key == null ? {} : { prompt_cache_key: body.prompt_cache_key }),
    ...(body.prompt_cache_retention == null ? {} : { prompt_cache_retention: body.prompt_cache_retention }),
    ...(body.service_tier == null ? {} : { service_tier: body.service_tier }),
  };
}

function readTool(tool: Exclude<Tool, { type: 'file_search' }>): TurnRequest['tools'][number] {
  if (tool.type === 'function') return readFunction(tool);
  const { format } = tool;
  if (format?.type !== 'grammar') return readCustom(tool, format);
  const { type, definition, syntax } = format;
  return readCustom(tool, { type, grammar: { definition, syntax } });
}

/** A tool as it is given back: of a function, what was left out is null. */
function writeTool(tool: Tool): object {
  if (tool.type === 'file_search') {
    const { max_num_results: most, ranking_options: ranking } = tool;
    return {
      type: tool.type,
      vector_store_ids: tool.vector_store_ids ?? [],
      ...(most == null ? {} : { max_num_results: most }),
      ...(ranking == null ? {} : { ranking_options: ranking }),
    };
  }
  if (tool.type === 'custom') {
    const { description, ...rest } = tool;
    return { ...rest, ...(description == null ? {} : { description }), format: tool.format ?? { type: 'text' } };
  }
  const { type, name, description, parameters, strict } = tool;
  return { type, name, description: description ?? null, parameters: parameters ?? null, strict: strict ?? null };
}

function readConversationId(id: string | null): TurnRequest['conversation'] {
  if (id === null) return undefined;
  const known = parseId('conversation', id);
  if (known === undefined)
    throw new UsherError('not_found', 'There is no such conversation.', { param: 'conversation' });
  return known;
}
