import { unreachable } from '#base';
import type { FunctionTool, ModelRequest, PromptCall, PromptMessage, PromptPart } from '../port.ts';

/** What a server was found to understand; starts from its kind and is corrected by its refusals. */
export interface Dialect {
  readonly includeUsage: boolean;
  /** OpenAI's newer models refuse `max_tokens`; most other servers know nothing else. */
  readonly tokensField: 'max_tokens' | 'max_completion_tokens';
  /** Whether it takes back what its model thought (DeepSeek, vLLM); OpenAI's own refuses unknown fields. */
  readonly takesReasoning: boolean;
}

/**
 * How a server is asked to go on with an answer: `final-message` as vLLM and SGLang take it,
 * `prefix` as DeepSeek and Mistral do, `assistant` where a trailing message of the assistant alone
 * is gone on with (llama.cpp); `none` where it cannot.
 */
export type Continuation = 'none' | 'final-message' | 'prefix' | 'assistant';

/** The body of `POST /chat/completions`, always streamed. `model` is left out where the address names it. */
export function wireRequest(
  request: ModelRequest,
  model: string | undefined,
  dialect: Dialect,
  continuation: Continuation = 'none',
): string {
  const parameters = request.parameters;
  return JSON.stringify({
    // Below all that is ours to say.
    ...request.extra,
    model,
    messages: [
      ...request.messages.map((message) => wireMessage(message, dialect)),
      ...continued(request, continuation),
    ],
    ...(request.continueFrom !== undefined && continuation === 'final-message'
      ? { continue_final_message: true, add_generation_prompt: false }
      : {}),
    stream: true,
    stream_options: dialect.includeUsage ? { include_usage: true } : undefined,
    [dialect.tokensField]: parameters.maxOutputTokens,
    temperature: parameters.temperature,
    top_p: parameters.topP,
    stop: parameters.stop !== undefined && parameters.stop.length > 0 ? parameters.stop : undefined,
    seed: parameters.seed,
    presence_penalty: parameters.presencePenalty,
    frequency_penalty: parameters.frequencyPenalty,
    reasoning_effort: parameters.reasoningEffort,
    ...wireTools(request),
    response_format: wireFormat(request.format),
  });
}

/** The answer so far, as the server wants to be told of it. */
function continued({ continueFrom }: ModelRequest, continuation: Continuation): readonly object[] {
  if (continueFrom === undefined || continuation === 'none') return [];
  const message = { role: 'assistant', content: continueFrom };
  return [continuation === 'prefix' ? { ...message, prefix: true } : message];
}

/** Tool fields only beside tools: several servers refuse them otherwise. */
function wireTools(request: ModelRequest): object {
  if (request.tools === undefined || request.tools.length === 0) return {};
  const choice = request.toolChoice;
  return {
    tools: request.tools.map(wireTool),
    tool_choice: typeof choice === 'object' ? wireChoice(choice) : choice,
    parallel_tool_calls: request.parallelCalls,
  };
}

function wireTool(tool: FunctionTool): object {
  if (tool.custom === undefined) return { type: 'function', function: tool };
  const { name, description, custom } = tool;
  return { type: 'custom', custom: { name, description, format: custom.format } };
}

function wireChoice({ name, custom }: { readonly name: string; readonly custom?: true }): object {
  return custom === true ? { type: 'custom', custom: { name } } : { type: 'function', function: { name } };
}

function wireFormat(format: ModelRequest['format']): object | undefined {
  if (format === undefined) return undefined;
  if (format.type === 'json') return { type: 'json_object' };
  return {
    type: 'json_schema',
    json_schema: { name: format.name, schema: format.schema, strict: format.strict },
  };
}

function wireMessage(message: PromptMessage, dialect: Dialect): object {
  switch (message.role) {
    case 'system':
    case 'user':
      return {
        role: message.role,
        name: message.name,
        content: typeof message.content === 'string' ? message.content : message.content.map(wirePart),
      };
    case 'assistant':
      return wireAssistant(message, dialect);
    case 'tool':
      return { role: 'tool', tool_call_id: message.callId, content: message.content };
    default:
      return unreachable(message);
  }
}

function wireAssistant(message: PromptMessage & { readonly role: 'assistant' }, dialect: Dialect): object {
  const reasoning =
    dialect.takesReasoning && message.reasoning !== undefined ? { reasoning_content: message.reasoning } : {};
  if (message.calls === undefined || message.calls.length === 0) {
    return { role: 'assistant', name: message.name, content: message.content, ...reasoning };
  }
  return {
    role: 'assistant',
    name: message.name,
    ...reasoning,
    content: message.content === '' ? null : message.content,
    tool_calls: message.calls.map(wireCall),
  };
}

function wireCall({ callId, name, arguments: text, custom }: PromptCall): object {
  return custom === true
    ? { id: callId, type: 'custom', custom: { name, input: text } }
    : { id: callId, type: 'function', function: { name, arguments: text } };
}

function wirePart(part: PromptPart): object {
  if (part.type === 'text') return { type: 'text', text: part.text };
  // This wire knows nothing closer.
  const detail = part.detail === 'original' ? 'high' : part.detail;
  return { type: 'image_url', image_url: { url: part.url, detail } };
}
