import type { Id } from '#base';

export type Role = 'user' | 'assistant' | 'system' | 'developer';
export type ItemStatus = 'completed' | 'incomplete';

/** Where a quoted passage comes from. Offsets count UTF-16 units of the text they annotate. */
export interface Citation {
  readonly source: string;
  readonly title: string;
  readonly start: number;
  readonly end: number;
}

export type ContentPart =
  | { readonly type: 'text'; readonly text: string; readonly citations?: readonly Citation[] }
  | { readonly type: 'refusal'; readonly text: string }
  | { readonly type: 'image'; readonly url: string; readonly detail?: 'auto' | 'low' | 'high' };

export interface MessageItem {
  readonly kind: 'message';
  readonly id: Id<'message'>;
  readonly role: Role;
  readonly content: readonly ContentPart[];
  readonly status: ItemStatus;
}

/** The model asks for a function of the caller; `arguments` is JSON text, not yet validated. */
export interface CallItem {
  readonly kind: 'call';
  readonly id: Id<'call'>;
  readonly callId: string;
  readonly name: string;
  readonly arguments: string;
  readonly status: ItemStatus;
}

export interface ResultItem {
  readonly kind: 'result';
  readonly id: Id<'result'>;
  readonly callId: string;
  readonly output: string;
  readonly status: ItemStatus;
}

/** A call of a tool that the assistant itself has, or of the search over its knowledge, with what came of it. */
export interface ToolItem {
  readonly kind: 'tool';
  readonly id: Id<'tool'> | Id<'search'>;
  /** What the model calls the call; ties the result to it. */
  readonly callId: string;
  /** Where the tool comes from: a label of the assistant's own. */
  readonly source: string;
  readonly name: string;
  readonly arguments: string;
  /** Null until it ran, and where it failed. */
  readonly output: string | null;
  /** Why it failed, for the model to read; null where it did not. */
  readonly error: string | null;
  readonly status: ItemStatus;
}

/** One message, call or result in a conversation. */
export type Item = MessageItem | CallItem | ResultItem | ToolItem;
export type ItemId = Item['id'];

/** The plain text of an item's parts, for prompts and titles. */
export function textOf(content: readonly ContentPart[]): string {
  return content.map((part) => (part.type === 'image' ? '' : part.text)).join('');
}
