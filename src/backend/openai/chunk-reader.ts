import { randomUUID } from 'node:crypto';
import type { Usage } from '#conversation';
import type { AnswerEnd, ModelEvent } from '../port.ts';

/** A stream that says it failed (`server`), or says nothing that the wire knows (`garbage`). */
export class WireFault extends Error {
  override readonly name = 'WireFault';
  readonly kind: 'server' | 'garbage';
  readonly code: string | undefined;

  constructor(kind: 'server' | 'garbage', message: string, code?: string) {
    super(message);
    this.kind = kind;
    this.code = code;
  }
}

/** Parallel calls of one answer at the most; no server makes as many. */
const callsMax = 128;
/** Some servers put a signature of kilobytes into an id; each is held, stored and sent back. */
const callIdCharactersMax = 16_384;
const callNameCharactersMax = 1_024;
/** Of the events of one answer that tell log probabilities, which are held with it: those of what comes later are left out. */
const logprobsCharactersMax = 16_777_216;

/** Of one answer: what is beyond is no count. Sums of the answers of a turn stay whole numbers that every database gives back. */
const tokensMax = 1_000_000_000;

interface WireChunk {
  readonly choices?: readonly (WireChoice | null)[] | null;
  readonly usage?: WireUsage | null;
  readonly error?: unknown;
}

interface WireChoice {
  readonly index?: number;
  readonly delta?: WireDelta | null;
  readonly finish_reason?: string | null;
  readonly logprobs?: { readonly content?: unknown } | null;
}

interface WireDelta {
  readonly content?: string | readonly WirePart[] | null;
  readonly refusal?: string | null;
  readonly reasoning_content?: unknown;
  readonly reasoning?: unknown;
  readonly tool_calls?: readonly (WireCall | null)[] | null;
}

interface WirePart {
  readonly type?: string;
  readonly text?: unknown;
  /** Of a part of type `thinking` (Mistral). */
  readonly thinking?: unknown;
}

interface WireCall {
  readonly index?: number;
  readonly id?: string | null;
  readonly function?: { readonly name?: string | null; readonly arguments?: unknown } | null;
  readonly custom?: { readonly name?: string | null; readonly input?: unknown } | null;
}

interface WireUsage {
  readonly prompt_tokens?: unknown;
  readonly completion_tokens?: unknown;
  readonly prompt_cache_hit_tokens?: unknown;
  readonly prompt_tokens_details?: { readonly cached_tokens?: unknown } | null;
  readonly completion_tokens_details?: { readonly reasoning_tokens?: unknown } | null;
}

/** Reads the chunks of one streamed Chat Completions answer, in order. */
export class ChunkReader {
  /** Set once the model said why it stopped. */
  finish: AnswerEnd['finish'] | undefined;
  usage: Usage | undefined;
  /** Whether any chunk had a choice: an end marker after none is no answer. */
  hasChoice = false;
  readonly #emit: (event: ModelEvent) => void;
  /** Call ids by index. */
  readonly #calls: (string | undefined)[] = [];
  #logprobsCharacters = 0;

  constructor(emit: (event: ModelEvent) => void) {
    this.#emit = emit;
  }

  /**
   * Reads the data of one event. Answers whether it carried a token: text, reasoning, a call or
   * the finish; a heartbeat or an empty first chunk is none.
   * @throws WireFault
   */
  read(data: string): boolean {
    const chunk = parseChunk(data);
    if (chunk.error !== undefined && chunk.error !== null) {
      throw new WireFault('server', 'the stream told an error', errorCode(chunk.error));
    }
    if (chunk.usage) this.usage = readUsage(chunk.usage) ?? this.usage;
    if (!Array.isArray(chunk.choices)) {
      if (chunk.choices === undefined && !chunk.usage) throw new WireFault('garbage', 'an event is no chunk');
      return false;
    }
    // Only one choice is ever asked for.
    const choice = chunk.choices.find((entry) => (entry?.index ?? 0) === 0);
    return choice ? this.#readChoice(choice, data.length) : false;
  }

  #readChoice(choice: WireChoice, characters: number): boolean {
    this.hasChoice = true;
    const told = choice.logprobs?.content;
    if (Array.isArray(told)) this.#logprobsCharacters += characters;
    const isKept = Array.isArray(told) && this.#logprobsCharacters <= logprobsCharactersMax;
    const logprobs = isKept ? (told as readonly unknown[]) : undefined;
    let isToken = choice.delta ? this.#readDelta(choice.delta, logprobs) : false;
    if (typeof choice.finish_reason === 'string') {
      this.finish = this.#finishOf(choice.finish_reason);
      isToken = true;
    }
    return isToken;
  }

  #readDelta(delta: WireDelta, logprobs: readonly unknown[] | undefined): boolean {
    let isToken = false;
    const reasoning = reasoningOf(delta);
    if (reasoning !== '') {
      this.#emit({ type: 'reasoning', text: reasoning });
      isToken = true;
    }
    const text = typeof delta.content === 'string' ? delta.content : partsText(delta.content);
    if (text !== '') {
      this.#emit(logprobs === undefined ? { type: 'text', text } : { type: 'text', text, logprobs });
      isToken = true;
    }
    if (typeof delta.refusal === 'string' && delta.refusal !== '') {
      this.#emit({ type: 'refusal', text: delta.refusal });
      isToken = true;
    }
    if (Array.isArray(delta.tool_calls)) {
      for (const call of delta.tool_calls) if (call) isToken = this.#readCall(call) || isToken;
    }
    return isToken || (Array.isArray(delta.content) && delta.content.length > 0);
  }

  /** Some servers repeat id and name on each piece, some leave the index out, some give no id. */
  #readCall(call: WireCall): boolean {
    const index = call.index ?? this.#indexOf(call.id);
    if (!Number.isInteger(index) || index < 0 || index >= callsMax) {
      throw new WireFault('garbage', 'a call has no sensible index');
    }
    const told = call.custom?.input ?? call.function?.arguments;
    const piece = typeof told === 'string' ? told : '';
    if (this.#calls[index] !== undefined) {
      if (piece !== '') this.#emit({ type: 'call', index, arguments: piece });
      return piece !== '';
    }
    const name = call.custom?.name ?? call.function?.name;
    if (typeof name !== 'string' || name === '') throw new WireFault('garbage', 'a call has no name');
    if (name.length > callNameCharactersMax) throw new WireFault('garbage', 'the name of a call has no end');
    const callId = typeof call.id === 'string' && call.id !== '' ? call.id : `call_${randomUUID()}`;
    if (callId.length > callIdCharactersMax) throw new WireFault('garbage', 'the id of a call has no end');
    this.#calls[index] = callId;
    const custom = call.custom == null ? {} : { custom: true as const };
    this.#emit({ type: 'call', index, callId, name, arguments: piece, ...custom });
    return true;
  }

  #indexOf(id: string | null | undefined): number {
    if (typeof id !== 'string' || id === '') return Math.max(this.#calls.length - 1, 0);
    const known = this.#calls.indexOf(id);
    return known === -1 ? this.#calls.length : known;
  }

  #finishOf(reason: string): AnswerEnd['finish'] {
    switch (reason) {
      case 'length':
        return 'length';
      case 'content_filter':
        return 'filtered';
      case 'tool_calls':
      case 'function_call':
        return 'call';
      case 'error':
      case 'abort':
        throw new WireFault('server', 'the model server gave the answer up');
      default:
        // Some servers say `stop` after calls, too.
        return this.#calls.length > 0 ? 'call' : 'stop';
    }
  }
}

function parseChunk(data: string): WireChunk {
  let parsed: unknown;
  try {
    parsed = JSON.parse(data);
  } catch {
    // The parser's own message quotes the text: it is dropped.
    throw new WireFault('garbage', 'an event is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) throw new WireFault('garbage', 'an event is no object');
  return parsed;
}

function partsText(content: WireDelta['content']): string {
  if (!Array.isArray(content)) return '';
  return content.map((part) => (part?.type === 'text' && typeof part.text === 'string' ? part.text : '')).join('');
}

/** Some servers send it under both names. */
function reasoningOf(delta: WireDelta): string {
  for (const told of [delta.reasoning_content, delta.reasoning])
    if (typeof told === 'string' && told !== '') return told;
  if (!Array.isArray(delta.content)) return '';
  const thoughts = delta.content.flatMap((part) =>
    Array.isArray(part?.thinking) ? (part.thinking as WirePart[]) : [],
  );
  return partsText(thoughts);
}

function readUsage(usage: WireUsage): Usage | undefined {
  const inputTokens = tokens(usage.prompt_tokens);
  const outputTokens = tokens(usage.completion_tokens);
  if (inputTokens === undefined || outputTokens === undefined) return undefined;
  const cached = tokens(usage.prompt_tokens_details?.cached_tokens) ?? tokens(usage.prompt_cache_hit_tokens) ?? 0;
  return {
    inputTokens,
    cachedInputTokens: Math.min(cached, inputTokens),
    outputTokens,
    reasoningTokens: tokens(usage.completion_tokens_details?.reasoning_tokens) ?? 0,
    estimated: false,
  };
}

function tokens(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= tokensMax ? value : undefined;
}

/** A backend's `code`, else its `type`, where it is a short word; sentences stay out: they may quote content. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code, type } = error as { readonly code?: unknown; readonly type?: unknown };
  return codeWord(code) ?? codeWord(type);
}

function codeWord(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  return typeof value === 'string' && /^[a-z][a-z0-9_.]{0,63}$/i.test(value) ? value : undefined;
}
