import type { Id } from '#base';
import type { Reach, Scope, SubjectId, TenantId } from '#access';
import type { ItemId, TurnOutcome, TurnState, Usage } from '#conversation';
import type { ReleaseDigest } from '#release';
import type { KeyStore, Sealed } from '#vault';

/**
 * The Store port. Content is reached only through a handle that carries tenant and, for a person,
 * subject: a row outside that reach does not exist for the caller. Every promise of a write
 * settles after the commit. All times are wall-clock epoch milliseconds.
 *
 * Every method rejects with UsherError `storage_full`, `storage_unavailable`, `data_damaged` or
 * `overloaded` when the database cannot do its part; `conflict` for an id that is taken; and
 * `forbidden` where a person would store what is about someone else.
 */
export interface Store {
  reach(reach: Reach): TenantStore;
  readonly system: SystemStore;
  /** A write and a read went through, for `/readyz` and the doctor. */
  probe(): Promise<void>;
  close(): Promise<void>;
}

export interface ConversationRow {
  readonly id: Id<'conversation'>;
  readonly subject: SubjectId;
  /** Null until the first turn chose an assistant (the wire creates conversations without one). */
  readonly assistant: string | null;
  /** The release it began with, null until the first turn. */
  readonly release: ReleaseDigest | null;
  readonly title: Sealed | null;
  readonly metadata: Sealed | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export interface NewItem {
  readonly id: ItemId;
  readonly content: Sealed;
}

export interface ItemRow {
  readonly id: ItemId;
  readonly subject: SubjectId;
  /** Null for items that were appended outside a turn. */
  readonly turn: Id<'turn'> | null;
  /** Order within the conversation (or within the turn where there is no conversation), from 1. */
  readonly position: number;
  readonly content: Sealed;
  readonly createdAtMs: number;
}

export interface NewTurn {
  readonly id: Id<'turn'>;
  readonly subject: SubjectId;
  readonly conversation: Id<'conversation'> | null;
  /** The turn that this one follows where there is no conversation (`previous_response_id`). */
  readonly previous: Id<'turn'> | null;
  readonly assistant: string;
  readonly environment: string;
  /** The digest really served. */
  readonly release: ReleaseDigest;
  /** The caller's own settings, to answer a later retrieve with. */
  readonly settings: Sealed;
  readonly startedAtMs: number;
  /** The process that runs it, and for how long it is believed without a renewal, by the database's clock. */
  readonly owner: Id<'node'>;
  readonly leaseMs: number;
}

export interface TurnFinish {
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
  readonly backend: string | null;
  readonly finishedAtMs: number;
}

export interface TurnRow extends Omit<NewTurn, 'owner' | 'leaseMs'> {
  readonly state: TurnState;
  /** `reason` of an incomplete turn, `code` of a failed one. */
  readonly reason: string | null;
  readonly usage: Usage | null;
  readonly backend: string | null;
  readonly finishedAtMs: number | null;
}

/** What is kept of a turn whose content is not: who was served what, by whom, for how many tokens. */
export interface UnstoredTurn
  extends Omit<NewTurn, 'settings' | 'conversation' | 'previous' | 'owner' | 'leaseMs'>, TurnFinish {
  readonly tenant: TenantId;
}

export interface FeedbackRow {
  readonly turn: Id<'turn'>;
  readonly subject: SubjectId;
  readonly rating: 'up' | 'down';
  readonly comment: Sealed | null;
  readonly createdAtMs: number;
}

export interface PageRequest {
  readonly limit: number;
  readonly order: 'oldest-first' | 'newest-first';
  /** Exclusive cursor: an id of an earlier page's last row. Unknown ids answer an empty page. */
  readonly after?: string;
}

export type BeginTurn = 'begun' | 'locked' | 'conversation_missing' | 'previous_missing';

/** Everything within one reach. */
export interface TenantStore {
  createConversation(row: Omit<ConversationRow, 'updatedAtMs'>, items: readonly NewItem[]): Promise<void>;
  conversation(id: Id<'conversation'>): Promise<ConversationRow | undefined>;
  /** Newest activity first; only those of one assistant. */
  listConversations(
    assistant: string,
    page: { readonly limit: number; readonly after?: Id<'conversation'> },
  ): Promise<readonly ConversationRow[]>;
  updateConversation(
    id: Id<'conversation'>,
    change: { readonly title?: Sealed; readonly metadata?: Sealed | null },
  ): Promise<boolean>;
  /** With its turns, items and feedback. Answers whether it existed. */
  deleteConversation(id: Id<'conversation'>): Promise<boolean>;

  /** Answers false where the conversation does not exist; `conversation_locked` is the caller's to check. */
  appendItems(conversation: Id<'conversation'>, items: readonly NewItem[], nowMs: number): Promise<boolean>;
  items(conversation: Id<'conversation'>, page: PageRequest): Promise<readonly ItemRow[]>;
  item(conversation: Id<'conversation'>, id: string): Promise<ItemRow | undefined>;
  deleteItem(conversation: Id<'conversation'>, id: string): Promise<boolean>;

  /**
   * One transaction: the turn as `running`, its input items, `updatedAtMs`, and the conversation's
   * assistant and release where those were still null. `locked` when the conversation already has a
   * running turn.
   */
  beginTurn(turn: NewTurn, input: readonly NewItem[]): Promise<BeginTurn>;
  /** One transaction: state, usage, output items, `updatedAtMs`. False where the turn no longer runs. */
  finishTurn(id: Id<'turn'>, finish: TurnFinish, output: readonly NewItem[]): Promise<boolean>;
  turn(id: Id<'turn'>): Promise<TurnRow | undefined>;
  turnItems(id: Id<'turn'>, part: 'input' | 'output'): Promise<readonly ItemRow[]>;
  /**
   * Items of this turn and of those it follows, newest turns first counted, answered oldest first.
   * Ends at a deleted turn, and at most `mostItems` turns back.
   */
  chainItems(id: Id<'turn'>, mostItems: number): Promise<readonly ItemRow[]>;
  /** With its items. Answers whether it existed. */
  deleteTurn(id: Id<'turn'>): Promise<boolean>;

  /** One verdict per turn; a second replaces the first. False where the turn does not exist. */
  putFeedback(row: FeedbackRow): Promise<boolean>;
  feedback(turn: Id<'turn'>): Promise<FeedbackRow | undefined>;

  /** Content-addressed: a digest that is already there stays as it is. */
  putRelease(digest: ReleaseDigest, assistant: string, content: Sealed, nowMs: number): Promise<void>;
  release(digest: ReleaseDigest): Promise<{ readonly assistant: string; readonly content: Sealed } | undefined>;
  /** Digests of one assistant that begin with `prefix`, at most two: enough to tell unique from ambiguous. */
  releasesByPrefix(assistant: string, prefix: string): Promise<readonly ReleaseDigest[]>;
}

export interface ApiKeyRow {
  readonly id: Id<'key'>;
  readonly tenant: TenantId;
  readonly name: string;
  /** First characters, to recognise it in a list. */
  readonly prefix: string;
  readonly hash: Uint8Array;
  readonly scopes: readonly Scope[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly revokedAtMs: number | null;
}

/** Append-only evidence; never content. */
export interface AuditRecord {
  readonly id: Id<'audit'>;
  readonly tenant: TenantId;
  readonly atMs: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
}

/** What lies outside any one tenant's reach: credentials before they are known, keys, housekeeping. */
export interface SystemStore extends KeyStore {
  /** By SHA-256 of the whole key; revoked and expired ones too. */
  apiKeyByHash(hash: Uint8Array): Promise<ApiKeyRow | undefined>;
  /** Oldest first. */
  apiKeys(tenant: TenantId): Promise<readonly ApiKeyRow[]>;
  putApiKey(row: ApiKeyRow, audit: AuditRecord): Promise<void>;
  /** Answers whether there was such a key, still valid. */
  revokeApiKey(tenant: TenantId, id: Id<'key'>, atMs: number, audit: AuditRecord): Promise<boolean>;
  /** Grows with each change of any key; what caches of credentials are checked against. */
  accessRevision(): Promise<number>;
  /** Newest first. */
  audit(tenant: TenantId, most: number): Promise<readonly AuditRecord[]>;
  /** All of them or none. */
  recordUnstoredTurns(turns: readonly UnstoredTurn[]): Promise<void>;
  /** Extends the lease of every turn that this owner still runs; answers which those are. */
  renewTurns(owner: Id<'node'>, leaseMs: number): Promise<readonly Id<'turn'>[]>;
  /**
   * Turns that say `running` and whose lease is over become `failed` with `interrupted`; answers how
   * many. `every`: whatever their lease, for the one process that may run any.
   */
  failLostTurns(which: 'lease_over' | 'every'): Promise<number>;
  /** Whether any tenant key exists: a database that has some must not get a new root key. */
  hasTenantKeys(): Promise<boolean>;
}
