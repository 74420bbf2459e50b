import { appendText, newId, type Id } from '#base';
import type { ModelEvent } from '#backend';
import {
  searchSource,
  searchTool,
  type ApprovalRequestItem,
  type CallItem,
  type Citation,
  type ContentPart,
  type ItemStatus,
  type MessageItem,
  type OpenedItem,
  type Placed,
  type ReasoningItem,
  type ToolItem,
  type TurnEvent,
} from '#conversation';
import { MarkScanner } from './citation-marks.ts';
import { JsonEnd } from './json-end.ts';

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
  readonly scanner: MarkScanner;
}

export interface BegunCall {
  readonly modelIndex: number;
  readonly callId: string;
  readonly name: string;
  readonly custom?: true;
  arguments: string;
  readonly end: JsonEnd;
}

export interface OpenCall extends BegunCall {
  readonly kind: 'call';
  readonly id: Id<'call'>;
  readonly index: number;
}

export interface OpenTool extends BegunCall {
  readonly kind: 'tool';
  readonly id: ToolItem['id'];
  readonly source: string;
  readonly index: number;
}

/** A call that a person has to agree to. Nothing of it is told before it is whole. */
export interface OpenApprovalRequest extends BegunCall {
  readonly kind: 'approval-request';
  readonly id: Id<'approvalRequest'>;
  readonly source: string;
  readonly index: number;
}

/** A tool of the assistant's own: where it comes from, and whether the person has to agree to each call. */
export interface OwnTool {
  readonly source: string;
  readonly asksFirst: boolean;
}

export interface OpenReasoning {
  readonly kind: 'reasoning';
  readonly id: Id<'reasoning'>;
  readonly index: number;
  text: string;
}

export type OpenAnyCall = OpenCall | OpenTool | OpenApprovalRequest;

export type Open = OpenMessage | OpenReasoning | OpenAnyCall;

export function reopened({ index, item }: Placed<OpenedItem>): Open {
  switch (item.kind) {
    case 'message': {
      const part = item.content[0];
      if (part?.type !== 'text' && part?.type !== 'refusal') throw new Error('an answer begins with text or a refusal');
      const citations = part.type === 'text' ? [...(part.citations ?? [])] : [];
      const logprobs = part.type === 'text' ? [...(part.logprobs ?? [])] : [];
      const { id, operator } = item;
      const scanner = new MarkScanner();
      scanner.add(part.text);
      return { kind: 'message', id, index, part: part.type, text: part.text, citations, logprobs, operator, scanner };
    }
    case 'reasoning':
      return { kind: 'reasoning', id: item.id, index, text: item.text };
    case 'call':
    case 'tool':
      // No further piece of it can come: its index at the model it came from is of no use.
      return { ...item, index, modelIndex: -1, end: endIn(item.arguments) };
  }
}

export function deltaOf({ part, index, id }: OpenMessage, delta: string, logprobs: readonly unknown[] = []): TurnEvent {
  if (part === 'refusal' || logprobs.length === 0) return { type: part, index, itemId: id, delta };
  return { type: part, index, itemId: id, delta, logprobs };
}

export function isOpenCall(open: Open | undefined): open is OpenAnyCall {
  return open !== undefined && open.kind !== 'message' && open.kind !== 'reasoning';
}

/** A call as it begins, by whom it is run. */
export function openedCall(call: BegunCall, index: number, tool: OwnTool | undefined): OpenAnyCall {
  if (tool === undefined) return { ...call, kind: 'call', id: newId('call'), index };
  const { source } = tool;
  const isSearch = source === searchSource && call.name === searchTool;
  return tool.asksFirst
    ? { ...call, kind: 'approval-request', id: newId('approvalRequest'), source, index }
    : { ...call, kind: 'tool', id: newId(isSearch ? 'search' : 'tool'), source, index };
}

/**
 * A call that the person has agreed to, as it begins and when its arguments are there. Its id, which is the
 * idempotency key that the tool is given, is that of its request: made again, it would be the same effect.
 */
export function approvedCall(request: ApprovalRequestItem): { readonly begun: ToolItem; readonly item: ToolItem } {
  const { id: approvalRequest, callId, source, name, arguments: text } = request;
  const open = {
    kind: 'tool',
    id: approvalRequest.replace('mcpr_', 'mcp_') as Id<'tool'>,
    callId,
    source,
    name,
    arguments: text,
    index: 0,
    modelIndex: -1,
    end: new JsonEnd(),
  } as const;
  return {
    begun: { ...toolItem({ ...open, arguments: '' }, 'incomplete'), approvalRequest },
    item: { ...toolItem(open, 'completed'), approvalRequest },
  };
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

/** What the model reads of a tool that was stopped. */
export const cancelledTool = 'The call was cancelled before it was done.';

export function toolItem(open: OpenTool, status: ItemStatus): ToolItem {
  const { id, callId, source, name } = open;
  return { kind: 'tool', id, callId, source, name, arguments: open.arguments, output: null, error: null, status };
}

export function approvalRequestItem(open: OpenApprovalRequest): ApprovalRequestItem {
  const { kind, id, callId, source, name } = open;
  return { kind, id, callId, source, name, arguments: open.arguments, status: 'completed' };
}

export function begunCall(event: Extract<ModelEvent, { type: 'call' }>): BegunCall {
  return {
    modelIndex: event.index,
    // Some servers leave the id out; the next turn needs one to tie the result to the call.
    callId: event.callId ?? newId('call').replace('fc_', 'call_'),
    name: event.name ?? '',
    ...(event.custom && { custom: event.custom }),
    arguments: event.arguments,
    end: endIn(event.arguments),
  };
}

/** A piece more of the arguments. */
export function grow(call: BegunCall, piece: string): void {
  call.arguments = appendText(call.arguments, piece);
  call.end.add(piece);
}

/** Whether arguments have come to their end: they are one JSON value. Of any text nobody knows before the answer ends. */
export function isWhole({ end, custom }: BegunCall): boolean {
  return custom !== true && end.isReached;
}

function endIn(text: string): JsonEnd {
  const end = new JsonEnd();
  end.add(text);
  return end;
}
