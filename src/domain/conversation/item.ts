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

/** One message, call or result in a conversation. */
export type Item = MessageItem | CallItem | ResultItem;
export type ItemId = Item['id'];

/** The plain text of an item's parts, for prompts and titles. */
export function textOf(content: readonly ContentPart[]): string {
  return content.map((part) => (part.type === 'image' ? '' : part.text)).join('');
}
