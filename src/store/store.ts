import type { Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import type { ItemId, TurnOutcome, TurnState, Usage } from '#conversation';
import type { ReleaseDigest } from '#release';
import type { KeyStore, Sealed } from '#vault';
import type {
  ApiKeyRow,
  AuditRecord,
  NewSnapshot,
  NodeReport,
  NodeRow,
  PublishedSnapshot,
  ReadyRequest,
  ReadyTurn,
  SnapshotRow,
} from './system-rows.ts';
import type { HandoverReply, HandoverRow, ListedHandover } from './handover-rows.ts';

export type {
  ApiKeyRow,
  AuditRecord,
  NewSnapshot,
  NodeReport,
  NodeRow,
  PublishedSnapshot,
  QueueLane,
  ReadyRequest,
  ReadyTurn,
  SnapshotRow,
} from './system-rows.ts';
export type { HandoverReply, HandoverRow, ListedHandover } from './handover-rows.ts';

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
  /** The request for approval that it answers. */
  readonly answers?: string;
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
  /** The item of the conversation that its input stands in place of: it and all after it go as the turn begins. */
  readonly replaces?: ItemId | undefined;
  /** The turn that this one follows where there is no conversation (`previous_response_id`). */
  readonly previous: Id<'turn'> | null;
  readonly assistant: string;
  readonly environment: string;
  /** The digest really served. */
  readonly release: ReleaseDigest;
  /** What was asked, and the caller's own settings: enough to go on with it on another node. */
  readonly settings: Sealed;
  /** The end user's own bearer, for tools that need it: gone when the turn is over. */
  readonly userAuthorisation: Sealed | null;
  readonly startedAtMs: number;
  /** Whether nobody waits for it: it runs to its end with or without a listener. */
  readonly background: boolean;
  /** Whether it is listed among the completions. */
  readonly completion: boolean;
  /** Whether it waited in the queue before it began. */
  readonly queued: boolean;
  readonly repeats: RepeatKeys;
  /** The process that runs it, and for how long it is believed without a renewal, by the database's clock. */
  readonly owner: Id<'node'>;
  readonly leaseMs: number;
}

/** What a repeated request is recognised by, as keyed digests that tell nothing of it. */
export interface RepeatKeys {
  /** Of the caller's own `Idempotency-Key`: one turn for each. */
  readonly idempotency: Uint8Array | null;
  /** Of caller, conversation and body. */
  readonly body: Uint8Array | null;
}

/** A turn that was accepted and waits: for its conversation to be free, or for a worker. */
export interface QueuedTurn extends Omit<NewTurn, 'startedAtMs' | 'owner' | 'leaseMs' | 'queued' | 'completion'> {
  /** Its input items, which enter the conversation when it begins. */
  readonly input: Sealed;
  readonly queuedAtMs: number;
  /** When it has waited too long; null for never. */
  readonly deadlineMs: number | null;
}

export interface TurnFinish {
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
  readonly backend: string | null;
  readonly finishedAtMs: number;
  /**
   * Whether somebody listened to its end: then the same body is another request. What failed or was
   * stopped is no answer, so that neither body nor idempotency key find it again.
   */
  readonly isHeard: boolean;
}

/** A batch of a turn's events, flushed together. `seq` counts a turn's events from 0. */
export interface NewEvents {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly content: Sealed;
}

export interface EventsRow extends NewEvents {
  readonly epoch: number;
  readonly subject: SubjectId;
}

/** A batch under the epoch that its writer holds. */
export interface EventBatch extends EventsRow {
  readonly tenant: TenantId;
  readonly turn: Id<'turn'>;
  readonly createdAtMs: number;
}

/** A turn that its node may go on with. */
export interface HeldTurn {
  readonly turn: Id<'turn'>;
  readonly epoch: number;
  readonly cancelAsked: boolean;
  /** Whether another node has a listener of it. */
  readonly isHeard: boolean;
}

export interface TurnKey {
  readonly tenant: TenantId;
  readonly turn: Id<'turn'>;
}

export interface TurnProgress extends TurnKey {
  readonly state: TurnState;
  readonly epoch: number;
  /** Of the last event that is stored; null before the first. */
  readonly lastSeq: number | null;
}

/** A turn whose node was lost, now this node's. */
export interface ClaimedTurn {
  readonly tenant: TenantId;
  readonly turn: Id<'turn'>;
  readonly epoch: number;
  /** How many nodes have run it, this one included. */
  readonly attempts: number;
}

export interface TurnRow extends Omit<NewTurn, 'owner' | 'leaseMs' | 'repeats'> {
  readonly state: TurnState;
  readonly epoch: number;
  /** What the caller of a failed turn was told. */
  readonly message: string | null;
  /** `reason` of an incomplete turn, `code` of a failed one. */
  readonly reason: string | null;
  readonly usage: Usage | null;
  readonly backend: string | null;
  readonly finishedAtMs: number | null;
}

/** What is kept of a turn whose content is not: who was served what, by whom, for how many tokens. */
export interface UnstoredTurn
  extends
    Pick<NewTurn, 'id' | 'subject' | 'assistant' | 'environment' | 'release' | 'startedAtMs'>,
    Omit<TurnFinish, 'isHeard'> {
  readonly tenant: TenantId;
}

export interface FeedbackRow {
  readonly turn: Id<'turn'>;
  readonly subject: SubjectId;
  readonly rating: 'up' | 'down';
  readonly comment: Sealed | null;
  readonly createdAtMs: number;
}

/** Of sealed content that one page of items holds; one that goes beyond it is its page's last. */
export const pageBytesMax = 33_554_432;

export interface PageRequest {
  readonly limit: number;
  readonly order: 'oldest-first' | 'newest-first';
  /** Exclusive cursor: an id of an earlier page's last row. Unknown ids answer an empty page. */
  readonly after?: string;
}

/** What the text of a passage means to an embedding model. */
export interface PassageVectorRow {
  /** A keyed digest that tells nothing of the text. */
  readonly textHash: Uint8Array;
  readonly vector: Sealed;
}

export type BeginTurn = 'begun' | 'locked' | 'repeated' | 'answered' | 'conversation_missing' | 'previous_missing';
export type EnqueueTurn = Exclude<BeginTurn, 'begun' | 'locked' | 'answered'> | 'queued' | 'full';

/** Everything within one reach. */
export interface TenantStore {
  createConversation(row: Omit<ConversationRow, 'updatedAtMs'>, items: readonly NewItem[]): Promise<void>;
  conversation(id: Id<'conversation'>): Promise<ConversationRow | undefined>;
  /** Newest activity first; only those of one assistant that it has answered in. */
  listConversations(
    assistant: string,
    page: { readonly limit: number; readonly after?: Id<'conversation'> },
  ): Promise<readonly ConversationRow[]>;
  updateConversation(
    id: Id<'conversation'>,
    change: {
      /** Made of an item, without which it is forgotten. */
      readonly title?: { readonly content: Sealed; readonly of: ItemId };
      readonly metadata?: Sealed | null;
    },
  ): Promise<boolean>;
  /** With its turns, items and feedback. Answers whether it existed. */
  deleteConversation(id: Id<'conversation'>): Promise<boolean>;

  /** Answers false where the conversation does not exist; `conversation_locked` is the caller's to check. */
  appendItems(conversation: Id<'conversation'>, items: readonly NewItem[], nowMs: number): Promise<boolean>;
  /** Fewer than asked where together they come to `pageBytesMax`. */
  items(conversation: Id<'conversation'>, page: PageRequest): Promise<readonly ItemRow[]>;
  item(conversation: Id<'conversation'>, id: string): Promise<ItemRow | undefined>;
  /** An item wherever it is: in a conversation, or in a turn of none. */
  storedItem(id: string): Promise<ItemRow | undefined>;
  /** With what tells of it: its turn's events, unless that runs, later compactions of ours, and the title made of it. */
  deleteItem(conversation: Id<'conversation'>, id: string): Promise<boolean>;

  /**
   * One transaction: the turn as `running`, its input items, `updatedAtMs`, and the conversation's
   * assistant and release where those were still null. `locked` when the conversation already has a
   * running turn, or one that waits; `repeated` when its idempotency key is taken; `answered` when a request
   * that its input answers is not stored, or was answered before, even where that answer was deleted since.
   */
  beginTurn(turn: NewTurn, input: readonly NewItem[]): Promise<BeginTurn>;
  /**
   * One transaction: state, usage, output items, the last events, `updatedAtMs`. False where the turn
   * no longer runs, or runs under a later epoch.
   */
  finishTurn(
    id: Id<'turn'>,
    epoch: number,
    finish: TurnFinish,
    output: readonly NewItem[],
    events?: NewEvents,
  ): Promise<boolean>;
  turn(id: Id<'turn'>): Promise<TurnRow | undefined>;
  /** Those that ended with an answer, by age. */
  completions(page: PageRequest & { readonly after?: Id<'turn'> }): Promise<readonly TurnRow[]>;
  /** Replaces what was asked, as it is kept. Answers whether the turn existed. */
  updateTurnSettings(id: Id<'turn'>, settings: Sealed): Promise<boolean>;
  /** Batches that hold events after `seq`, in order. */
  turnEvents(id: Id<'turn'>, after: number, most: number): Promise<readonly EventsRow[]>;
  /** The turn that runs in a conversation. */
  runningTurn(conversation: Id<'conversation'>): Promise<Id<'turn'> | undefined>;
  /** Asks whatever node runs it to stop. False where it does not run. */
  askCancel(id: Id<'turn'>): Promise<boolean>;
  /** The end of its answer was heard: by its body alone no repeat finds it any more. */
  endHeard(id: Id<'turn'>): Promise<void>;
  /**
   * The turn, running, ended or queued, that has this idempotency key; without one the newest that has
   * none either and this body, since then.
   */
  repeatedTurn(
    keys: RepeatKeys,
    sinceMs: number,
  ): Promise<{ readonly turn: Id<'turn'>; readonly body: Uint8Array | null } | undefined>;

  /** `full` when so many of its conversation wait already. */
  enqueueTurn(turn: QueuedTurn, mostWaiting: number): Promise<EnqueueTurn>;
  queuedTurn(id: Id<'turn'>): Promise<QueuedTurn | undefined>;
  /** Those that wait in a conversation. */
  waitingTurns(conversation: Id<'conversation'>): Promise<readonly Id<'turn'>[]>;
  /** As `beginTurn`, and out of the queue; `gone` where it does not wait there, `locked` where it is not its turn. */
  beginQueuedTurn(turn: NewTurn, input: readonly NewItem[]): Promise<BeginTurn | 'gone'>;
  /** A queued turn ends before it began. False where it does not wait. */
  endQueuedTurn(turn: NewTurn, input: readonly NewItem[], finish: TurnFinish): Promise<boolean>;
  turnItems(id: Id<'turn'>, part: 'input' | 'output'): Promise<readonly ItemRow[]>;
  /**
   * Items of this turn and of those it follows, newest turns first counted, answered oldest first.
   * Ends at a deleted turn, at most `mostItems` turns back, and where they come to `pageBytesMax`.
   */
  chainItems(id: Id<'turn'>, mostItems: number): Promise<readonly ItemRow[]>;
  /** With its items, its events, and later compactions and the title of its conversation. Answers whether it existed. */
  deleteTurn(id: Id<'turn'>): Promise<boolean>;

  /** One verdict per turn; a second replaces the first. False where the turn does not exist. */
  putFeedback(row: FeedbackRow): Promise<boolean>;
  feedback(turn: Id<'turn'>): Promise<FeedbackRow | undefined>;

  /**
   * Hands over what `turn` belongs to (null: `row.conversation` alone), and has the turn wait there.
   * One that is open already, by its id, of the conversation or of the turn, is joined. Answers the handover that is open then; undefined where the
   * conversation does not exist, or where a new one would be more than the person may have (`mostOpen`; null: any number).
   */
  openHandover(
    row: Omit<HandoverRow, 'state' | 'endedAtMs'>,
    turn: Id<'turn'> | null,
    mostOpen: number | null,
  ): Promise<HandoverRow | undefined>;
  /** The open one of a conversation, or of the chain that ends with `turn`. */
  openHandoverOf(conversation: Id<'conversation'> | null, turn: Id<'turn'> | null): Promise<HandoverRow | undefined>;
  /** How the handover stands in which this turn waits, and what was answered to it. */
  replyTo(turn: Id<'turn'>): Promise<HandoverReply | undefined>;
  /** A person's answer to a turn that waits in this open handover. False where it does not wait there any more. */
  putReply(handover: Id<'handover'>, turn: Id<'turn'>, reply: Sealed): Promise<boolean>;
  /** False where it is not open. */
  endHandover(id: Id<'handover'>, state: 'returned' | 'missed', nowMs: number): Promise<boolean>;
  handover(id: Id<'handover'>): Promise<ListedHandover | undefined>;
  /** Open ones, oldest first. */
  openHandovers(page: { readonly limit: number; readonly after?: Id<'handover'> }): Promise<readonly ListedHandover[]>;

  /** Content-addressed: a digest that is already there stays as it is. */
  putRelease(digest: ReleaseDigest, assistant: string, content: Sealed, nowMs: number): Promise<void>;
  release(digest: ReleaseDigest): Promise<{ readonly assistant: string; readonly content: Sealed } | undefined>;
  /** Digests of one assistant that begin with `prefix`, at most two: enough to tell unique from ambiguous. */
  releasesByPrefix(assistant: string, prefix: string): Promise<readonly ReleaseDigest[]>;

  /** Replaces those that are there. No text twice. */
  putPassageVectors(model: string, rows: readonly PassageVectorRow[], nowMs: number): Promise<void>;
  /** Of those texts that have one, in no order; ask for a few dozen at a time. */
  passageVectors(model: string, textHashes: readonly Uint8Array[]): Promise<readonly PassageVectorRow[]>;
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
  putAudit(record: AuditRecord): Promise<void>;
  /** Newest first; nothing after one that is not there. */
  audit(tenant: TenantId, most: number, after?: Id<'audit'>): Promise<readonly AuditRecord[]>;
  /** All of them or none. */
  recordUnstoredTurns(turns: readonly UnstoredTurn[]): Promise<void>;
  /** Extends the lease of every turn that this owner still runs; answers which those are. */
  renewTurns(owner: Id<'node'>, leaseMs: number): Promise<readonly HeldTurn[]>;
  /** How far turns are that begun; those that wait, or are not there, are left out. */
  turnProgress(turns: readonly TurnKey[]): Promise<readonly TurnProgress[]>;
  /** Listeners of these are there, for so long by the database's clock: what runs them must not take them for unheard. */
  hearTurns(turns: readonly TurnKey[], forMs: number): Promise<void>;
  /** Appends each batch whose epoch is still its turn's own; answers the turns of those. */
  appendEvents(batches: readonly EventBatch[]): Promise<readonly HeldTurn[]>;
  /** Takes turns whose lease is over, for at least `overMs`, oldest lease first, each under a new epoch. */
  claimTurns(owner: Id<'node'>, leaseMs: number, most: number, overMs: number): Promise<readonly ClaimedTurn[]>;
  /** Ends the lease of one turn, where it is this owner's under this epoch: whoever wants goes on with it. */
  endLease(owner: Id<'node'>, turn: Id<'turn'>, epoch: number): Promise<void>;
  /**
   * Ends the leases of an owner that stops, so that others go on with its turns at once; of `every`
   * owner for the one process that may run any, at its start.
   */
  expireLeases(of: Id<'node'> | 'every'): Promise<void>;
  /**
   * Queued turns whose deadline is over, then those that could begin: the first of each conversation, the oldest of
   * each lane in turn.
   */
  readyTurns(asked: ReadyRequest): Promise<readonly ReadyTurn[]>;
  /** Events of turns that ended before then, at most so many batches; answers how many went. */
  deleteEvents(beforeMs: number, most: number): Promise<number>;
  /** A node's heartbeat, stamped with the database's clock. */
  putNode(report: NodeReport): Promise<void>;
  /** Oldest first; those that are gone too, until they are removed. */
  nodes(): Promise<readonly NodeRow[]>;
  removeNode(id: Id<'node'>): Promise<void>;
  /** Nodes not heard of for so long; answers how many. 0: all of them. */
  removeSilentNodes(silentMs: number): Promise<number>;
  /** Under the next revision, unless the newest has this digest already. Publishers queue: the last one wins. */
  publishSnapshot(snapshot: NewSnapshot): Promise<PublishedSnapshot>;
  /** The newest. */
  snapshot(): Promise<SnapshotRow | undefined>;
  /** Of the newest, 0 before the first; what nodes ask several times a second. */
  snapshotRevision(): Promise<number>;
  /** Whether any tenant key exists: a database that has some must not get a new root key. */
  hasTenantKeys(): Promise<boolean>;
}
