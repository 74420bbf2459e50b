import { z } from 'zod';
import { UsherError, newId } from '#base';
import type { ContentPart, Item, TurnEvent, TurnOutcome, Usage } from '#conversation';
import type { TurnRequest, TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import type { ErrorBody } from '../rescue.ts';
import { answerStreamed, answerWhole, type StreamWriter, type WholeAnswer } from './answer-exchange.ts';
import { metadataSchema, modelSchema, readBody, streamSchema, subjectSchema } from './read-body.ts';
import { argumentsSchema, calledNameSchema, callIdSchema, detailSchema, imageUrlSchema } from './read-items.ts';
import { effortSchema, readParameters, samplingShape, tokensSchema } from './read-parameters.ts';
import {
  choiceWordSchema,
  functionShape,
  functionTypeSchema,
  jsonSchemaShape,
  parallelSchema,
  readChoice,
  readFormat,
  readFunction,
} from './read-tools.ts';
import { plainSettings } from './response-body.ts';
import { talkPolicy } from './talk-policy.ts';
import { completionIdOf, servedModel } from './wire-ids.ts';

const partSchema = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('text'), text: z.string().describe('The text.') }),
    z.object({ type: z.literal('refusal'), refusal: z.string().describe('Why the assistant would not answer.') }),
    z.object({
      type: z.literal('image_url'),
      image_url: z.object({ url: imageUrlSchema, detail: detailSchema.optional() }),
    }),
  ])
  .meta({ id: 'message-part', description: 'A piece of a message as Chat Completions writes it.' });
const contentSchema = z.union([z.string(), z.array(partSchema)]);

const messageSchema = z.discriminatedUnion('role', [
  z.object({ role: z.enum(['system', 'developer', 'user']), content: contentSchema.describe('What is said.') }),
  z.object({
    role: z.literal('assistant'),
    content: contentSchema.nullish().describe('What the assistant said.'),
    refusal: z.string().nullish().describe('Why it would not answer, as it was answered.'),
    tool_calls: z
      .array(
        z.object({
          id: callIdSchema,
          type: z.literal('function'),
          function: z.object({ name: calledNameSchema, arguments: argumentsSchema }),
        }),
      )
      .nullish()
      .describe('The functions that it asked for.'),
  }),
  z.object({
    role: z.literal('tool'),
    tool_call_id: callIdSchema,
    content: contentSchema.describe('What the function returned.'),
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
  user: z.string().max(512).nullish().describe('The older name of `safety_identifier`.'),
  safety_identifier: subjectSchema.nullish(),
  n: z
    .literal(1, 'must be 1: one choice per request is served, so send the request several times')
    .nullish()
    .describe('Always 1.'),
  logprobs: z.literal(false, 'must be false: log probabilities are not served').nullish().describe('Always false.'),
  ...samplingShape,
  max_tokens: tokensSchema.nullish().describe('The older name of `max_completion_tokens`.'),
  max_completion_tokens: tokensSchema.nullish(),
  stop: z
    .union([z.string(), z.array(z.string()).max(4)])
    .nullish()
    .describe('Up to four texts at which the answer ends.'),
  seed: z
    .number()
    .int()
    .nullish()
    .describe('Asks the model for the same answer to the same question; few models promise it.'),
  presence_penalty: z.number().min(-2).max(2).nullish().describe('Above 0: prefer subjects not yet talked of.'),
  frequency_penalty: z.number().min(-2).max(2).nullish().describe('Above 0: repeat words less.'),
  reasoning_effort: effortSchema.nullish(),
  tools: z
    .array(z.object({ type: functionTypeSchema, function: z.object(functionShape) }))
    .max(128)
    .nullish()
    .describe('Functions of the caller that the model may ask for. Applications only.'),
  tool_choice: z
    .union([
      choiceWordSchema,
      z.object({
        type: z.literal('function'),
        function: z.object({ name: z.string().describe('The function that must be asked for.') }),
      }),
    ])
    .nullish()
    .describe('Whether the model may, must or must not ask for a function, or which. Absent: `auto`.'),
  parallel_tool_calls: parallelSchema.nullish(),
  response_format: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('text') }),
      z.object({ type: z.literal('json_object') }),
      z.object({ type: z.literal('json_schema'), json_schema: z.object(jsonSchemaShape) }),
    ])
    .nullish()
    .describe('The form of the answer: text, any JSON object, or JSON of a schema. Applications only.'),
});
type ChatBody = z.infer<typeof chatCompletionSchema>;

export function chatCompletionRoutes(rooms: TurnRooms): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/chat/completions',
      policy: talkPolicy,
      summary: 'Runs one turn over the messages sent with it: the caller keeps the conversation.',
      body: chatCompletionSchema,
      answer: 'The `chat.completion` object; with `stream: true` its chunks, and `[DONE]` at the end.',
      handle: (exchange) => createCompletion(rooms, exchange),
    },
  ];
}

async function createCompletion(rooms: TurnRooms, exchange: Exchange): Promise<void> {
  const body = readBody(chatCompletionSchema, await exchange.json());
  const request = readRequest(exchange, body);
  if (body.stream === true) {
    return answerStreamed(rooms, exchange, request, new ChunkWriter(body.stream_options?.include_usage === true));
  }
  exchange.sendJson(200, completion(await answerWhole(rooms, exchange, request)));
}

function readRequest(exchange: Exchange, body: ChatBody): TurnRequest {
  const stored = body.store === true;
  const { tool_choice: choice, response_format: format } = body;
  return {
    principal: exchange.principal,
    model: body.model,
    subject: body.safety_identifier ?? body.user ?? undefined,
    conversation: undefined,
    previous: undefined,
    stored,
    input: body.messages.flatMap(readMessage),
    instructions: undefined,
    parameters: readParameters({ ...body, max_output_tokens: body.max_completion_tokens ?? body.max_tokens }),
    tools: (body.tools ?? []).map((tool) => readFunction(tool.function)),
    toolChoice: readChoice(typeof choice === 'object' ? choice?.function : choice),
    parallelCalls: body.parallel_tool_calls ?? undefined,
    format: readFormat(format?.type === 'json_schema' ? { ...format.json_schema, type: format.type } : format),
    settings: stored ? JSON.stringify({ ...plainSettings, metadata: body.metadata ?? {} }) : '',
  };
}

function readMessage(message: ChatBody['messages'][number]): Item[] {
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
    content: readContent(message.content ?? refusalOf(message) ?? ''),
    status: 'completed',
  };
  if (message.role !== 'assistant') return [spoken];
  const calls = (message.tool_calls ?? []).map((call): Item => {
    return {
      kind: 'call',
      id: newId('call'),
      callId: call.id,
      name: call.function.name,
      arguments: call.function.arguments,
      status: 'completed',
    };
  });
  return calls.length > 0 && plainText(message.content ?? '') === '' ? calls : [spoken, ...calls];
}

/** A refusal as an answer writes it: beside an empty content. */
function refusalOf(message: ChatBody['messages'][number]): z.infer<typeof contentSchema> | undefined {
  const refusal = message.role === 'assistant' ? message.refusal : undefined;
  return refusal == null ? undefined : [{ type: 'refusal', refusal }];
}

function readContent(content: z.infer<typeof contentSchema>): ContentPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  return content.map((part): ContentPart => {
    switch (part.type) {
      case 'text':
        return { type: 'text', text: part.text };
      case 'refusal':
        return { type: 'refusal', text: part.refusal };
      case 'image_url':
        return {
          type: 'image',
          url: part.image_url.url,
          ...(part.image_url.detail === undefined ? {} : { detail: part.image_url.detail }),
        };
    }
  });
}

function plainText(content: z.infer<typeof contentSchema>): string {
  return typeof content === 'string'
    ? content
    : content.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

function completion({ turn, items, outcome, usage }: WholeAnswer): object {
  const text = items.flatMap((item) => (item.kind === 'message' ? item.content : []));
  const calls = items.filter((item) => item.kind === 'call');
  const content = text.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const refusal = text.map((part) => (part.type === 'refusal' ? part.text : '')).join('');
  return {
    id: completionIdOf(turn.id),
    object: 'chat.completion',
    created: Math.floor(turn.startedAtMs / 1000),
    model: servedModel(turn.assistant, turn.release),
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: content === '' && (calls.length > 0 || refusal !== '') ? null : content,
          refusal: refusal === '' ? null : refusal,
          annotations: [],
          ...(calls.length === 0
            ? {}
            : {
                tool_calls: calls.map((call) => ({
                  id: call.callId,
                  type: 'function',
                  function: { name: call.name, arguments: call.arguments },
                })),
              }),
        },
        logprobs: null,
        finish_reason: finishReason(outcome),
      },
    ],
    usage: writeUsage(usage),
    service_tier: 'default',
  };
}

function finishReason(outcome: TurnOutcome): string {
  switch (outcome.state) {
    case 'completed':
      return outcome.reason === 'call' ? 'tool_calls' : 'stop';
    case 'incomplete':
      return outcome.reason === 'length' ? 'length' : 'content_filter';
    case 'cancelled':
    case 'failed':
      throw new UsherError('internal', `A turn that ${outcome.state} has no finish reason.`);
  }
}

function writeUsage(usage: Usage): object {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.inputTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedInputTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: usage.reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

/** Chunks of one completion. The part that never changes is written once: it is most of each chunk. */
class ChunkWriter implements StreamWriter {
  readonly #includeUsage: boolean;
  #head = '';
  #calls = -1;
  #spoke = false;

  constructor(includeUsage: boolean) {
    this.#includeUsage = includeUsage;
  }

  write(event: TurnEvent): string {
    switch (event.type) {
      case 'started': {
        const { id, startedAtMs, assistant, release } = event.turn;
        const created = Math.floor(startedAtMs / 1000);
        const model = JSON.stringify(servedModel(assistant, release));
        this.#head = `data: {"id":"${completionIdOf(id)}","object":"chat.completion.chunk","created":${created},"model":${model},"service_tier":"default",`;
        return '';
      }
      case 'opened':
        return this.#opened(event.item);
      case 'text':
        return this.#delta(`{"content":${JSON.stringify(event.delta)}}`);
      case 'refusal':
        return this.#delta(`{"refusal":${JSON.stringify(event.delta)}}`);
      case 'arguments':
        return this.#delta(
          `{"tool_calls":[{"index":${this.#calls},"function":{"arguments":${JSON.stringify(event.delta)}}}]}`,
        );
      case 'cited':
      case 'closed':
        return '';
      case 'finished':
        return this.#finished(event.outcome, event.usage);
    }
  }

  failure(body: ErrorBody): string {
    return `data: ${JSON.stringify(body)}\n\n`;
  }

  #opened(item: Item): string {
    const role = this.#role();
    if (item.kind !== 'call') return role;
    this.#calls += 1;
    const call = {
      index: this.#calls,
      id: item.callId,
      type: 'function',
      function: { name: item.name, arguments: '' },
    };
    return role + this.#delta(JSON.stringify({ tool_calls: [call] }));
  }

  /** The first chunk names the role, once. */
  #role(): string {
    if (this.#spoke) return '';
    this.#spoke = true;
    return this.#delta('{"role":"assistant","content":"","refusal":null}');
  }

  #delta(delta: string): string {
    const usage = this.#includeUsage ? ',"usage":null' : '';
    return `${this.#head}"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":null}]${usage}}\n\n`;
  }

  #finished(outcome: TurnOutcome, usage: Usage): string {
    if (outcome.state === 'failed' || outcome.state === 'cancelled') return '';
    const noUsage = this.#includeUsage ? ',"usage":null' : '';
    const last = `${this.#head}"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"${finishReason(outcome)}"}]${noUsage}}\n\n`;
    const total = this.#includeUsage
      ? `${this.#head}"choices":[],"usage":${JSON.stringify(writeUsage(usage))}}\n\n`
      : '';
    return `${this.#role()}${last}${total}data: [DONE]\n\n`;
  }
}
