import type { Id } from '#base';
import type { ErrorCode } from '#base';
import type { ReleaseDigest } from '#release';
import type { CallItem, Citation, CompactionItem, Item, MessageItem, ReasoningItem, ToolItem } from './item.ts';

/** What is fixed when a turn starts. */
export interface StartedTurn {
  readonly id: Id<'turn'>;
  readonly assistant: string;
  readonly environment: string;
  /** The digest really served. */
  readonly release: ReleaseDigest;
  readonly startedAtMs: number;
}

/** Tokens as the backend reported them, or estimated where it reported none. */
export interface Usage {
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly reasoningTokens: number;
  readonly estimated: boolean;
}

/** How a turn ended. Only `completed` means that the answer is whole. */
export type TurnOutcome =
  | { readonly state: 'completed'; readonly reason: 'stop' | 'call' }
  | { readonly state: 'incomplete'; readonly reason: 'length' | 'filtered' }
  | { readonly state: 'cancelled' }
  | { readonly state: 'failed'; readonly code: ErrorCode; readonly message: string; readonly retryAfterMs?: number };

export type TurnState = 'running' | TurnOutcome['state'];

/**
 * What a running turn tells, in order: one `started`; per item `opened`, deltas, `closed`; one
 * `finished`. `index` is the item's place among all that were told, from 0.
 *
 * A turn whose answer broke off may begin anew: the open item is closed as incomplete, then
 * `restarted` says that the items from `index` on count no more.
 */
export type TurnEvent =
  /** It waits, for its conversation or for a worker. */
  | { readonly type: 'queued'; readonly turn: StartedTurn }
  | { readonly type: 'started'; readonly turn: StartedTurn }
  | { readonly type: 'opened'; readonly index: number; readonly item: OpenedItem }
  | DeltaEvent
  /** The arguments of a tool's call are whole. */
  | { readonly type: 'called'; readonly index: number; readonly item: ToolItem }
  /** The tool is about to be run: from here on it may have had its effect. */
  | { readonly type: 'acting'; readonly index: number; readonly itemId: ToolItem['id'] }
  | { readonly type: 'closed'; readonly index: number; readonly item: Item }
  /** What was said before is summarised. Whole at once, with what its model spent, so that it is made once. */
  | { readonly type: 'compacted'; readonly index: number; readonly item: CompactionItem; readonly usage: Usage }
  /** A model has ended an answer of its own with calls that are run here; the last answer of a turn ends with it. */
  | { readonly type: 'stepped'; readonly usage: Usage; readonly backend: string | null }
  | { readonly type: 'restarted'; readonly index: number }
  /** Up to `count` deltas of the open item may have been told that nobody knows any more. */
  | { readonly type: 'bridged'; readonly index: number; readonly item: OpenedItem; readonly count: number }
  | {
      readonly type: 'finished';
      readonly outcome: TurnOutcome;
      readonly usage: Usage;
      readonly finishedAtMs: number;
    };

/** Items that come piece by piece, as they begin: without content. */
export type OpenedItem = MessageItem | CallItem | ToolItem | ReasoningItem;

/** A piece of the open item. These alone may be told before they are durable. */
export type DeltaEvent =
  | {
      readonly type: 'text';
      readonly index: number;
      readonly itemId: Id<'message'>;
      readonly delta: string;
      /** Log probabilities of its tokens, as the backend told them; only where they were asked for. */
      readonly logprobs?: readonly unknown[];
    }
  | { readonly type: 'refusal'; readonly index: number; readonly itemId: Id<'message'>; readonly delta: string }
  | { readonly type: 'reasoning'; readonly index: number; readonly itemId: Id<'reasoning'>; readonly delta: string }
  | { readonly type: 'cited'; readonly index: number; readonly itemId: Id<'message'>; readonly citation: Citation }
  | {
      readonly type: 'arguments';
      readonly index: number;
      readonly itemId: Id<'call'> | ToolItem['id'];
      readonly delta: string;
    };
