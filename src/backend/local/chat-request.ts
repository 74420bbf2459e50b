import { z } from 'zod';
import type { LlamaHistoryItem } from './runtime-types.ts';

const content = z.union([
  z.string(),
  z.null().transform(() => ''),
  z
    .array(z.object({ type: z.literal('text'), text: z.string() }))
    .transform((parts) => parts.map((part) => part.text).join('')),
]);

const schema = z.object({
  messages: z.array(z.object({ role: z.enum(['system', 'developer', 'user', 'assistant']), content })).min(1),
  stream: z.literal(true),
  stream_options: z.object({ include_usage: z.boolean().optional() }).nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  seed: z.int().nullish(),
  stop: z.union([z.string().transform((stop) => [stop]), z.array(z.string())]).nullish(),
  tools: z.array(z.unknown()).max(0).nullish(),
  response_format: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('text') }),
      z.object({ type: z.literal('json_object') }),
      z.object({
        type: z.literal('json_schema'),
        json_schema: z.object({ schema: z.record(z.string(), z.unknown()) }),
      }),
    ])
    .nullish(),
});

/** What the local model is asked, out of a Chat Completions body. */
export interface ChatRequest {
  readonly history: readonly LlamaHistoryItem[];
  readonly maxTokens: number | undefined;
  readonly temperature: number | undefined;
  readonly topP: number | undefined;
  readonly seed: number | undefined;
  readonly stop: readonly string[];
  /** A JSON Schema, or any JSON. */
  readonly format: 'json' | object | undefined;
  readonly wantsUsage: boolean;
}

/** Undefined where the body asks for what a local model here cannot do: tools, images, several choices. */
export function readChatRequest(body: unknown): ChatRequest | undefined {
  const parsed = schema.safeParse(body);
  if (!parsed.success) return undefined;
  const wire = parsed.data;
  return {
    history: [...wire.messages.map(historyItem), { type: 'model', response: [] }],
    maxTokens: wire.max_completion_tokens ?? wire.max_tokens ?? undefined,
    temperature: wire.temperature ?? undefined,
    topP: wire.top_p ?? undefined,
    seed: wire.seed ?? undefined,
    stop: wire.stop ?? [],
    format: formatOf(wire.response_format),
    wantsUsage: wire.stream_options?.include_usage === true,
  };
}

function formatOf(format: z.infer<typeof schema>['response_format']): ChatRequest['format'] {
  if (format?.type === 'json_object') return 'json';
  return format?.type === 'json_schema' ? format.json_schema.schema : undefined;
}

function historyItem(message: z.infer<typeof schema>['messages'][number]): LlamaHistoryItem {
  switch (message.role) {
    case 'assistant':
      return { type: 'model', response: [message.content] };
    case 'user':
      return { type: 'user', text: message.content };
    default:
      return { type: 'system', text: message.content };
  }
}
