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
  | {
      readonly type: 'text';
      readonly text: string;
      readonly citations?: readonly Citation[];
      /** Log probabilities of its tokens, as the backend told them; only where they were asked for. */
      readonly logprobs?: readonly unknown[];
    }
  | { readonly type: 'refusal'; readonly text: string }
  /** A file that was sent, as the text that was read of it. */
  | { readonly type: 'file'; readonly name: string; readonly text: string }
  | ImagePart;

export interface ImagePart {
  readonly type: 'image';
  readonly url: string;
  readonly detail?: 'auto' | 'low' | 'high' | 'original';
}

export interface MessageItem {
  readonly kind: 'message';
  readonly id: Id<'message'>;
  readonly role: Role;
  readonly content: readonly ContentPart[];
  readonly status: ItemStatus;
  /** The name of the person who wrote it in the assistant's place. */
  readonly operator?: string;
  /** Who of several speaks, as the application names them to the model. */
  readonly name?: string;
  /** What the chat that sent it calls it, where it may ask for it to be replaced. */
  readonly clientId?: string;
}

/**
 * The model asks for a function of the caller; `arguments` is JSON text, not yet validated, or any
 * text where the tool is a custom one.
 */
export interface CallItem {
  readonly kind: 'call';
  readonly id: Id<'call'>;
  readonly callId: string;
  readonly name: string;
  readonly arguments: string;
  readonly custom?: true;
  readonly status: ItemStatus;
}

export interface ResultItem {
  readonly kind: 'result';
  readonly id: Id<'result'>;
  readonly callId: string;
  readonly output: string;
  /** What it returned to be seen. */
  readonly images?: readonly ImagePart[];
  /** Of a custom tool. */
  readonly custom?: true;
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
  /** The request that a person approved before; absent where none was needed. */
  readonly approvalRequest?: Id<'approvalRequest'>;
}

/** The model wants to call a tool that may only run once the person agrees. */
export interface ApprovalRequestItem {
  readonly kind: 'approval-request';
  readonly id: Id<'approvalRequest'>;
  readonly callId: string;
  readonly source: string;
  readonly name: string;
  readonly arguments: string;
  /** It was sent as input: what was asked elsewhere, or by nobody. It cannot be approved. */
  readonly sentBack?: true;
  readonly status: ItemStatus;
}

/** What the person said to it. */
export interface ApprovalItem {
  readonly kind: 'approval';
  readonly id: Id<'approval'>;
  /** The id of the request, as the caller sent it. */
  readonly request: string;
  readonly approve: boolean;
  readonly reason: string | null;
  readonly status: ItemStatus;
}

/** What a model thought before it went on. Only the model calls of its own turn read it again. */
export interface ReasoningItem {
  readonly kind: 'reasoning';
  readonly id: Id<'reasoning'>;
  readonly text: string;
  /** The same under the key of its person, as base64url, where the caller asked for it. */
  readonly sealed?: string;
  readonly status: ItemStatus;
}

/**
 * A summary that stands for what was said before it. Items at its own place may be newer than what it
 * covers: an answer makes it after the question was stored.
 */
export interface CompactionItem {
  readonly kind: 'compaction';
  readonly id: Id<'compaction'>;
  /** A `Summary` under the key of its person, as base64url: opaque to everybody else, also on the wire. */
  readonly sealed: string;
  /** The last item that it covers; null where it covers all that stands before it. */
  readonly covers: ItemId | null;
  readonly status: ItemStatus;
}

/** What a compaction holds. */
export interface Summary {
  readonly text: string;
  /** Instructions of the application among what is covered: they hold on, word for word. */
  readonly standing: readonly string[];
  /**
   * What was said between the last item that is covered and the answer, word for word, for callers
   * who keep a conversation themselves and send back nothing older than the compaction.
   */
  readonly recent: readonly Item[];
}

/** One message, call, result, approval, thought or compaction in a conversation. */
export type Item =
  | MessageItem
  | CallItem
  | ResultItem
  | ToolItem
  | ApprovalRequestItem
  | ApprovalItem
  | ReasoningItem
  | CompactionItem;
export type ItemId = Item['id'];

/** The plain text of an item's parts, for prompts and titles: what was said, without what is in files. */
export function textOf(content: readonly ContentPart[]): string {
  return content.map((part) => (part.type === 'image' || part.type === 'file' ? '' : part.text)).join('');
}
