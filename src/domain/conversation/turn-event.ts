import type { Id } from '#base';
import type { ErrorCode } from '#base';
import type { ReleaseDigest } from '#release';
import type { CallItem, Citation, Item, MessageItem } from './item.ts';

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
 * `finished`. `index` is the item's place in the answer, from 0.
 */
export type TurnEvent =
  | { readonly type: 'started'; readonly turn: StartedTurn }
  | { readonly type: 'opened'; readonly index: number; readonly item: MessageItem | CallItem }
  | { readonly type: 'text'; readonly index: number; readonly itemId: Id<'message'>; readonly delta: string }
  | { readonly type: 'refusal'; readonly index: number; readonly itemId: Id<'message'>; readonly delta: string }
  | { readonly type: 'cited'; readonly index: number; readonly itemId: Id<'message'>; readonly citation: Citation }
  | { readonly type: 'arguments'; readonly index: number; readonly itemId: Id<'call'>; readonly delta: string }
  | { readonly type: 'closed'; readonly index: number; readonly item: Item }
  | { readonly type: 'finished'; readonly outcome: TurnOutcome; readonly usage: Usage; readonly finishedAtMs: number };
