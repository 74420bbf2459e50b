import type { Id } from '#base';
import type { Scope, TenantId } from '#access';
import type { Role } from '#cluster';

/* Rows of what lies outside any one tenant's content. */

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

/** What a node says of itself. */
export interface NodeReport {
  readonly id: Id<'node'>;
  readonly roles: readonly Role[];
  readonly version: string;
  readonly host: string;
  readonly pid: number;
  readonly startedAtMs: number;
  readonly state: 'serving' | 'draining';
  /** The snapshot that it serves; 0 before the first. */
  readonly appliedRevision: number;
  readonly runningTurns: number;
  /** What its operator should know, in a sentence; never content. */
  readonly problem: string | null;
}

export interface NodeRow extends NodeReport {
  /** Since it was last heard of, by the database's clock. */
  readonly silentMs: number;
}

export interface NewSnapshot {
  /** Equal for snapshots that serve the same. */
  readonly digest: string;
  readonly content: string;
  readonly publishedBy: Id<'node'>;
}

export interface SnapshotRow extends NewSnapshot {
  readonly revision: number;
  readonly publishedAtMs: number;
}

export interface PublishedSnapshot {
  /** The newest, also where it was there already. */
  readonly revision: number;
  readonly changed: boolean;
  /** Who had published the one before; null where nothing was replaced. */
  readonly replaced: Id<'node'> | null;
}

/** What waits of one tenant, with listeners or without. */
export interface QueueLane {
  readonly tenant: TenantId;
  readonly background: boolean;
}

export interface ReadyRequest {
  readonly most: number;
  readonly perLane: number;
  /** Queued for at least so long. */
  readonly waitedMs: number;
  /** Lanes of which nothing could begin; what is late of them is answered all the same. */
  readonly full: readonly QueueLane[];
}

export interface ReadyTurn extends QueueLane {
  readonly turn: Id<'turn'>;
  /** Its deadline is over. */
  readonly isLate: boolean;
}
