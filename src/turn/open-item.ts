import { newId, type Id } from '#base';
import type { ModelEvent } from '#backend';
import type {
  CallItem,
  Citation,
  ContentPart,
  ItemStatus,
  MessageItem,
  OpenedItem,
  Placed,
  ReasoningItem,
  ToolItem,
  TurnEvent,
} from '#conversation';

/** An item that a model is in the middle of, as far as it came. */
export interface OpenMessage {
  readonly kind: 'message';
  readonly id: Id<'message'>;
  readonly index: number;
  readonly part: 'text' | 'refusal';
  text: string;
  readonly citations: Citation[];
  readonly logprobs: unknown[];
  readonly operator?: string | undefined;
}

export interface BegunCall {
  readonly modelIndex: number;
  readonly callId: string;
  readonly name: string;
  readonly custom?: true;
  arguments: string;
}

export interface OpenCall extends BegunCall {
  readonly kind: 'call';
  readonly id: Id<'call'>;
  readonly index: number;
}

export interface OpenTool extends BegunCall {
  readonly kind: 'tool';
  readonly id: Id<'tool'>;
  readonly source: string;
  readonly index: number;
}

export interface OpenReasoning {
  readonly kind: 'reasoning';
  readonly id: Id<'reasoning'>;
  readonly index: number;
  text: string;
}

export type Open = OpenMessage | OpenCall | OpenTool | OpenReasoning;

export function reopened({ index, item }: Placed<OpenedItem>): Open {
  switch (item.kind) {
    case 'message': {
      const part = item.content[0];
      if (part?.type !== 'text' && part?.type !== 'refusal') throw new Error('an answer begins with text or a refusal');
      const citations = part.type === 'text' ? [...(part.citations ?? [])] : [];
      const logprobs = part.type === 'text' ? [...(part.logprobs ?? [])] : [];
      const { id, operator } = item;
      return { kind: 'message', id, index, part: part.type, text: part.text, citations, logprobs, operator };
    }
    case 'reasoning':
      return { kind: 'reasoning', id: item.id, index, text: item.text };
    case 'call':
    case 'tool':
      // No further piece of it can come: its index at the model it came from is of no use.
      return { ...item, index, modelIndex: -1 };
  }
}

export function deltaOf(
  { part, index, id }: OpenMessage,
  delta: string,
  logprobs: readonly unknown[] | undefined,
): TurnEvent {
  if (part === 'refusal' || logprobs === undefined) return { type: part, index, itemId: id, delta };
  return { type: part, index, itemId: id, delta, logprobs };
}

export function begunItem(open: OpenCall | OpenTool): CallItem | ToolItem {
  const empty = { ...open, arguments: '' };
  return empty.kind === 'call' ? callItem(empty, 'incomplete') : toolItem(empty, 'incomplete');
}

export function messageItem(open: OpenMessage, status: ItemStatus): MessageItem {
  const citations = open.citations.length === 0 ? {} : { citations: [...open.citations] };
  const logprobs = open.logprobs.length === 0 ? {} : { logprobs: [...open.logprobs] };
  const part: ContentPart =
    open.part === 'text'
      ? { type: 'text', text: open.text, ...citations, ...logprobs }
      : { type: 'refusal', text: open.text };
  const { id, operator } = open;
  return {
    kind: 'message',
    id,
    role: 'assistant',
    content: [part],
    status,
    ...(operator === undefined ? {} : { operator }),
  };
}

export function reasoningItem({ id, text }: OpenReasoning, status: ItemStatus): ReasoningItem {
  return { kind: 'reasoning', id, text, status };
}

export function callItem(open: OpenCall, status: ItemStatus): CallItem {
  const { id, callId, name, custom } = open;
  return { kind: 'call', id, callId, name, arguments: open.arguments, ...(custom && { custom }), status };
}

export function toolItem(open: OpenTool, status: ItemStatus): ToolItem {
  const { id, callId, source, name } = open;
  return { kind: 'tool', id, callId, source, name, arguments: open.arguments, output: null, error: null, status };
}

export function begunCall(event: Extract<ModelEvent, { type: 'call' }>): BegunCall {
  return {
    modelIndex: event.index,
    // Some servers leave the id out; the next turn needs one to tie the result to the call.
    callId: event.callId ?? newId('call').replace('fc_', 'call_'),
    name: event.name ?? '',
    ...(event.custom && { custom: event.custom }),
    arguments: event.arguments,
  };
}

/** Whether arguments have come to their end: they are one JSON value. Of any text nobody knows before the answer ends. */
export function isWhole({ arguments: text, custom }: BegunCall): boolean {
  if (custom === true) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
