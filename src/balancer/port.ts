import type { Random } from '#base';

/** What one request needs of a backend. Token counts are estimates. */
export interface Need {
  readonly promptTokens: number;
  /** Chained hashes of the prompt's blocks, oldest first, from `prefixChain`; equal up to where two prompts agree. */
  readonly prefix: readonly string[];
  /** Tokens that each entry of `prefix` covers. */
  readonly blockTokens: number;
  /** Backends already tried for this turn. */
  readonly exclude: ReadonlySet<string>;
}

/** What is known of one member of a pool. */
export interface MemberOptions {
  readonly name: string;
  /** Requests under way at once at the most. */
  readonly concurrency: number;
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
}

/** A charge on one backend, from selection until `settle`. */
export interface Ticket {
  readonly backend: string;
  readonly pickedAtMs: number;
}

/** What the balancer learns when an attempt ends. */
export type Settlement =
  | { readonly result: 'answered'; readonly outputTokens: number }
  /** The client left, or the turn was refused for its own fault: says nothing about the backend. */
  | { readonly result: 'neutral' }
  | { readonly result: 'failed'; readonly kind: 'connect' | 'server' | 'timeout' | 'cut' | 'garbage' | 'misconfigured' }
  | { readonly result: 'limited'; readonly retryAfterMs: number | undefined };

export interface LimitReport {
  readonly requestsRemaining?: number;
  readonly requestsResetMs?: number;
  readonly tokensRemaining?: number;
  readonly tokensResetMs?: number;
}

export type BlockReason = 'limited' | 'broken' | 'busy' | 'exhausted';

export type Pick =
  | { readonly result: 'picked'; readonly ticket: Ticket }
  /** Nothing may take it now; `retryAfterMs` is when the first member could. */
  | { readonly result: 'none'; readonly reason: BlockReason; readonly retryAfterMs: number };

export type BreakerState = 'closed' | 'open' | 'probing';

/** Interchangeable backends. A pure state machine: every call takes `nowMs` (monotonic). */
export interface Pool {
  pick(need: Need, nowMs: number): Pick;
  /**
   * Asked before a retry or fallback is made, of the pool on which the attempt failed; true is one
   * grant, spent at once. At most 20 % of active requests (and at least a few).
   */
  mayRetry(nowMs: number): boolean;
  head(ticket: Ticket, limits: LimitReport, nowMs: number): void;
  firstToken(ticket: Ticket, nowMs: number): void;
  /** Ends the charge. Only the first call counts: later ones (an abort racing an end) change nothing. */
  settle(ticket: Ticket, settlement: Settlement, nowMs: number): void;
  /** For `/metrics`, the doctor and tests. */
  members(nowMs: number): readonly MemberView[];
}

export interface MemberView {
  readonly name: string;
  readonly inFlight: number;
  readonly breaker: BreakerState;
  readonly openUntilMs: number | undefined;
  /** Predicted milliseconds to the first token of a small request sent now. */
  readonly expectedWaitMs: number;
}

export interface PoolOptions {
  readonly members: readonly MemberOptions[];
  readonly random: Random;
}

export interface PoolsOptions extends PoolOptions {
  /** Names of the members of each pool, by the pool's name. */
  readonly pools: ReadonlyMap<string, readonly string[]>;
}
