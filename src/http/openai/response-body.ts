import type { Principal } from '#access';
import type { Item, TurnOutcome, TurnState, Usage } from '#conversation';
import type { RecordedTurn } from '#turn';
import { writeItem } from './write-items.ts';
import { responseIdOf, servedModel } from './wire-ids.ts';

/** What a caller names to read what searches found. */
export const resultsIncluded = 'file_search_call.results';

/** What the caller set, echoed with every answer; kept sealed with the turn. */
export interface ResponseSettings {
  readonly conversation: string | null;
  /** Whether items of searches hold what was found; absent: not. Not echoed. */
  readonly showsFound?: boolean;
  /** The message of the UI stream that it goes on with. Not echoed. */
  readonly uiMessage?: string;
  /** Of a chat completion: whether it asked for functions by their older name; absent: not. Not echoed. */
  readonly asksFunctions?: true;
  readonly previous_response_id: string | null;
  readonly instructions: string | null;
  readonly metadata: Readonly<Record<string, string>>;
  readonly temperature: number | null;
  readonly top_p: number | null;
  readonly max_output_tokens: number | null;
  readonly parallel_tool_calls: boolean;
  readonly tool_choice: unknown;
  readonly tools: readonly unknown[];
  readonly text: unknown;
  readonly store: boolean;
  readonly background: boolean;
  /** Absent where it was not sent. */
  readonly max_tool_calls?: number;
  readonly reasoning: { readonly effort: string | null; readonly summary: string | null };
  readonly safety_identifier: string | null;
  /** Absent where it was not sent: the wire knows no null here. */
  readonly user?: string;
  /** Absent where it was not sent: the owner's setting held. */
  readonly truncation?: 'auto' | 'disabled';
  /** These as they were sent, where they were. */
  readonly top_logprobs?: number;
  readonly prompt_cache_key?: string;
  readonly prompt_cache_retention?: string;
  readonly service_tier?: string;
}

/** Those of a turn that was asked for on another wire, so that it can be read as a response too. */
export const plainSettings: ResponseSettings = {
  conversation: null,
  previous_response_id: null,
  instructions: null,
  metadata: {},
  temperature: null,
  top_p: null,
  max_output_tokens: null,
  parallel_tool_calls: true,
  tool_choice: 'auto',
  tools: [],
  text: { format: { type: 'text' } },
  store: true,
  background: false,
  reasoning: { effort: null, summary: null },
  safety_identifier: null,
};

export interface ResponseParts {
  readonly id: RecordedTurn['id'];
  readonly assistant: string;
  readonly release: RecordedTurn['release'];
  readonly startedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly state: TurnState | 'queued';
  readonly reason: string | null;
  readonly message: string | null;
  readonly items: readonly Item[];
  readonly usage: Usage | null;
  readonly settings: ResponseSettings;
}

/** The response object of the wire. */
export function responseBody(parts: ResponseParts): object {
  const { state, settings } = parts;
  const { conversation, showsFound, uiMessage: _uiMessage, asksFunctions: _asksFunctions, ...echoed } = settings;
  return {
    id: responseIdOf(parts.id),
    object: 'response',
    created_at: Math.floor(parts.startedAtMs / 1000),
    completed_at: state === 'completed' && parts.finishedAtMs !== null ? Math.floor(parts.finishedAtMs / 1000) : null,
    status: state === 'running' ? 'in_progress' : state,
    error:
      state === 'failed'
        ? { code: wireErrorCode(parts.reason), message: parts.message ?? failureMessage(parts.reason) }
        : null,
    incomplete_details:
      state === 'incomplete' ? { reason: parts.reason === 'length' ? 'max_output_tokens' : 'content_filter' } : null,
    model: servedModel(parts.assistant, parts.release),
    output: parts.items.map((item) => writeItem(item, { showsFound })),
    output_text: outputText(parts.items),
    // Absent, not null, until it is known: so are the types of OpenAI's client.
    ...(parts.usage === null ? {} : { usage: writeUsage(parts.usage) }),
    conversation: conversation === null ? null : { id: conversation },
    truncation: 'auto',
    service_tier: 'default',
    top_logprobs: 0,
    ...echoed,
  };
}

type Shown = Pick<ResponseSettings, 'showsFound'>;

/** A recorded turn as the wire shows it. */
export function recordedResponse({ kind }: Pick<Principal, 'kind'>, turn: RecordedTurn, shown: Shown = {}): object {
  return responseBody({ ...turn, items: turn.output, settings: recordedSettings({ kind }, turn, shown) });
}

/** What a turn was asked with. A person is shown nothing of what only applications may set and tell the model. */
export function recordedSettings(
  { kind }: Pick<Principal, 'kind'>,
  { settings }: Pick<RecordedTurn, 'settings'>,
  shown: Shown = {},
): ResponseSettings {
  const recorded = { ...(JSON.parse(settings) as ResponseSettings), ...shown };
  if (kind === 'key') return recorded;
  const { instructions, tools, tool_choice, text } = plainSettings;
  return { ...recorded, instructions, tools, tool_choice, text };
}

export function reasonOf(outcome: TurnOutcome): { reason: string | null; message: string | null } {
  switch (outcome.state) {
    case 'completed':
    case 'incomplete':
      return { reason: outcome.reason, message: null };
    case 'cancelled':
      return { reason: null, message: null };
    case 'failed':
      return { reason: outcome.code, message: outcome.message };
  }
}

/** The wire knows few codes; the sentence says the rest. */
function wireErrorCode(code: string | null): string {
  return code === 'rate_limited' ? 'rate_limit_exceeded' : 'server_error';
}

/** What a recorded failure is called when it is read again. */
function failureMessage(code: string | null): string {
  return `The answer failed with ${code ?? 'internal'}. Send the message again.`;
}

function outputText(items: readonly Item[]): string {
  const parts = items.flatMap((item) => (item.kind === 'message' ? item.content : []));
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}

export function writeUsage(usage: Usage): object {
  return {
    input_tokens: usage.inputTokens,
    // No backend's Chat Completions tell what they wrote to their cache.
    input_tokens_details: { cached_tokens: usage.cachedInputTokens, cache_write_tokens: 0 },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}
