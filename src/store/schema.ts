import type { Generated } from 'kysely';
import type { Id } from '#base';
import type { SubjectId, TenantId } from '#access';
import type { ItemId, TurnState } from '#conversation';
import type { ReleaseDigest } from '#release';
import type { Sealed } from '#vault';

/**
 * The tables as Kysely sees them, the same on both databases. Times and counts are integers that
 * fit a JavaScript number; flags are 0 or 1; content columns take only what the vault sealed.
 */
export interface Tables {
  conversations: ConversationsTable;
  turns: TurnsTable;
  turn_events: TurnEventsTable;
  queued_turns: QueuedTurnsTable;
  items: ItemsTable;
  feedback: FeedbackTable;
  handovers: HandoversTable;
  releases: ReleasesTable;
  passage_vectors: PassageVectorsTable;
  unstored_turns: UnstoredTurnsTable;
  tenant_keys: WrappedKeyColumns & { tenant: TenantId };
  subject_keys: WrappedKeyColumns & { tenant: TenantId; subject: SubjectId };
  api_keys: ApiKeysTable;
  audit: AuditTable;
  nodes: NodesTable;
  snapshots: SnapshotsTable;
  counters: { name: 'access' | 'probe' | 'snapshot'; value: number };
}

/** The tables that hold what is about a person: reached by tenant and subject only. */
export type ContentTable =
  | 'conversations'
  | 'turns'
  | 'turn_events'
  | 'queued_turns'
  | 'items'
  | 'feedback'
  | 'handovers';

interface Owned {
  tenant: TenantId;
  subject: SubjectId;
}

interface ConversationsTable extends Owned {
  id: Id<'conversation'>;
  assistant: string | null;
  release: ReleaseDigest | null;
  title: Sealed | null;
  /** The item that the title was made of. */
  titled_by: Generated<string | null>;
  metadata: Sealed | null;
  /** Positions given out so far; never goes down, so that a deleted item's place is not reused. */
  items_made: number;
  created_at_ms: number;
  updated_at_ms: number;
}

interface UsageColumns {
  input_tokens: number | null;
  cached_input_tokens: number | null;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  usage_estimated: number | null;
}

interface TurnsTable extends Owned, UsageColumns {
  id: Id<'turn'>;
  conversation: Id<'conversation'> | null;
  previous: Id<'turn'> | null;
  assistant: string;
  environment: string;
  release: ReleaseDigest;
  settings: Sealed;
  /** The end user's own bearer; null where no tool needs it, and once the turn is over. */
  user_authorisation: Sealed | null;
  state: TurnState;
  reason: string | null;
  backend: string | null;
  /** As in conversations; counts only where the turn has no conversation. */
  items_made: number;
  started_at_ms: number;
  owner: Id<'node'>;
  lease_until_ms: number;
  finished_at_ms: number | null;
  /** Grows at each claim; a write under an older one is refused. */
  epoch: number;
  attempts: number;
  background: number;
  /** Whether it is listed as a chat completion. */
  completion: number;
  queued: number;
  cancel_asked: number;
  heard_until_ms: number;
  /** Why it failed, as its caller was told: never content. */
  message: string | null;
  idempotency_key: Uint8Array | null;
  body_key: Uint8Array | null;
  /** The handover in which it waits, or waited, for a person. */
  handover: Id<'handover'> | null;
  /** What that person answered. */
  reply: Sealed | null;
}

/** Events of a turn in batches, as they were flushed. */
interface TurnEventsTable extends Owned {
  turn: Id<'turn'>;
  epoch: number;
  first_seq: number;
  last_seq: number;
  content: Sealed;
  created_at_ms: number;
}

/** Turns that were accepted and have not begun. */
interface QueuedTurnsTable extends Owned {
  id: Id<'turn'>;
  conversation: Id<'conversation'> | null;
  previous: Id<'turn'> | null;
  assistant: string;
  environment: string;
  release: ReleaseDigest;
  background: number;
  settings: Sealed;
  /** As in turns. */
  user_authorisation: Sealed | null;
  input: Sealed;
  idempotency_key: Uint8Array | null;
  body_key: Uint8Array | null;
  queued_at_ms: number;
  /** Null for one that waits as long as it takes. */
  deadline_ms: number | null;
}

interface ItemsTable extends Owned {
  row: Generated<number>;
  id: ItemId;
  conversation: Id<'conversation'> | null;
  turn: Id<'turn'> | null;
  part: 'input' | 'output' | null;
  position: number;
  content: Sealed;
  created_at_ms: number;
  /** Of a request for approval: whether it was answered, also where the answer was deleted. */
  answered: Generated<number>;
}

interface FeedbackTable extends Owned {
  turn: Id<'turn'>;
  rating: 'up' | 'down';
  comment: Sealed | null;
  created_at_ms: number;
}

interface HandoversTable extends Owned {
  id: Id<'handover'>;
  assistant: string;
  /** Null where it holds for a chain of turns without one. */
  conversation: Id<'conversation'> | null;
  state: 'open' | 'returned' | 'missed';
  opened_by: 'model' | 'rule' | 'operator';
  opened_at_ms: number;
  ended_at_ms: number | null;
}

interface ReleasesTable {
  tenant: TenantId;
  digest: ReleaseDigest;
  assistant: string;
  content: Sealed;
  created_at_ms: number;
}

interface PassageVectorsTable {
  tenant: TenantId;
  model: string;
  /** Keyed: it tells nothing of the text. */
  text_hash: Uint8Array;
  vector: Sealed;
  created_at_ms: number;
}

interface UnstoredTurnsTable extends Owned, UsageColumns {
  id: Id<'turn'>;
  assistant: string;
  environment: string;
  release: ReleaseDigest;
  state: TurnState;
  reason: string | null;
  backend: string | null;
  started_at_ms: number;
  finished_at_ms: number;
}

interface WrappedKeyColumns {
  version: number;
  wrapped_by: string;
  wrapped: Uint8Array;
}

interface ApiKeysTable {
  tenant: TenantId;
  id: Id<'key'>;
  name: string;
  prefix: string;
  hash: Uint8Array;
  /** Words separated by a comma. */
  scopes: string;
  created_at_ms: number;
  expires_at_ms: number | null;
  revoked_at_ms: number | null;
}

interface AuditTable {
  row: Generated<number>;
  tenant: TenantId;
  id: Id<'audit'>;
  at_ms: number;
  actor: string;
  action: string;
  target: string;
}

interface NodesTable {
  id: Id<'node'>;
  /** Words separated by a comma. */
  roles: string;
  version: string;
  host: string;
  pid: number;
  state: 'serving' | 'draining';
  applied_revision: number;
  running_turns: number;
  problem: string | null;
  started_at_ms: number;
  /** By the database's clock. */
  heartbeat_at_ms: number;
}

interface SnapshotsTable {
  revision: number;
  digest: string;
  /** Names, splits and settings, in the clear: it holds no content. */
  content: string;
  published_by: Id<'node'>;
  published_at_ms: number;
}
