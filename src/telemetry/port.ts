import type { ErrorCode, Id } from '#base';
import type { TenantId } from '#access';
import type { BreakerState } from '#balancer';
import type { TurnState, Usage } from '#conversation';
import type { ReleaseDigest } from '#release';

/** How a call of a tool ended. `refused`: before anything was sent. */
export type ToolResult = 'done' | 'failed' | 'refused' | 'timeout' | 'aborted';

export type HandoverEvent =
  | 'opened by model'
  | 'opened by rule'
  | 'opened by operator'
  | 'answered'
  | 'returned'
  | 'missed';

/**
 * One function per event: each writes its log line, metric and span where they are due. Labels are
 * bounded: names from the configuration and closed unions only, never an id or a text. Never content.
 */
export interface Telemetry {
  started(event: { readonly url: string; readonly backends: readonly string[] }): void;
  stopping(event: { readonly reason: string; readonly openStreams: number }): void;
  requestFinished(event: {
    readonly requestId: string;
    readonly method: string;
    /** The route's pattern, never the path as sent. */
    readonly route: string;
    readonly status: number;
    readonly durationMs: number;
    readonly bytesOut: number;
    /** Why it was refused or failed. */
    readonly code: ErrorCode | undefined;
  }): void;
  connectionRefused(event: { readonly reason: 'too_many' | 'bad_request' | 'slow' | 'headers_too_large' }): void;
  /** A span of the GenAI semantic conventions from admission to record. */
  turnFinished(event: {
    readonly turn: string;
    readonly tenant: TenantId;
    readonly assistant: string;
    readonly environment: string;
    readonly release: ReleaseDigest;
    readonly backend: string | null;
    readonly model: string | undefined;
    readonly state: TurnState;
    readonly code: string | undefined;
    readonly usage: Usage;
    readonly startedAtMs: number;
    readonly firstTokenMs: number | undefined;
    readonly durationMs: number;
  }): void;
  /** A node that was taken for lost wrote again: its write was refused. */
  staleWriteRefused(event: { readonly turn: string }): void;
  /** A turn of a lost node goes on here. */
  turnTaken(event: { readonly turn: string; readonly assistant: string; readonly attempt: number }): void;
  /** A conversation goes to a person, or comes back from them. */
  handover(event: { readonly assistant: string; readonly event: HandoverEvent }): void;
  /** The older part of a conversation was summarised, or could not be: then the oldest is left out. */
  compacted(event: {
    readonly turn: string;
    readonly assistant: string;
    readonly result: 'done' | 'failed';
    /** Why no model answered. */
    readonly code: ErrorCode | undefined;
    readonly durationMs: number;
  }): void;
  attemptFinished(event: {
    readonly turn: string;
    readonly backend: string;
    readonly result: string;
    readonly firstTokenMs: number | undefined;
    readonly durationMs: number;
  }): void;
  /** A tool that Usher ran, whatever came of it. Its name is one of the release; no argument, no result. */
  toolCalled(event: {
    readonly tenant: TenantId;
    readonly assistant: string;
    /** `http`, or the label of the document or server that it comes from. */
    readonly source: string;
    readonly tool: string;
    readonly result: ToolResult;
    readonly durationMs: number;
  }): void;
  /** Texts that were turned into vectors, or were not. */
  embeddingFinished(event: {
    readonly tenant: TenantId;
    /** As the configuration names it. */
    readonly model: string;
    /** `done`, or where it broke. */
    readonly result: string;
    /** A sentence with the mend; no secret. */
    readonly reason: string | undefined;
    readonly texts: number;
    readonly inputTokens: number;
    readonly durationMs: number;
  }): void;
  /** How far the documents of an assistant with many are read. */
  knowledgeRead(event: {
    readonly tenant: TenantId;
    readonly assistant: string;
    readonly done: number;
    readonly total: number;
  }): void;
  /** How far the vectors of a release's new passages are made. */
  knowledgeEmbedded(event: {
    readonly tenant: TenantId;
    readonly assistant: string;
    readonly release: ReleaseDigest;
    readonly model: string;
    readonly done: number;
    readonly total: number;
  }): void;
  /** Vectors that could not be made: until they are, those passages are found by their words alone. */
  knowledgeUnembedded(event: {
    readonly tenant: TenantId;
    readonly assistant: string;
    readonly release: ReleaseDigest;
    readonly model: string;
    /** A sentence with the mend; no secret. */
    readonly reason: string;
    readonly missing: number;
  }): void;
  /** A server whose tools could not be listed, so that they are missing for now. */
  toolsMissing(event: {
    readonly tenant: TenantId;
    readonly assistant: string;
    readonly source: string;
    /** A sentence with the mend; no secret. */
    readonly reason: string;
  }): void;
  backendState(event: {
    readonly pool: string;
    readonly backend: string;
    readonly breaker: BreakerState;
    readonly inFlight: number;
  }): void;
  releaseLoaded(event: {
    readonly assistant: string;
    readonly environment: string;
    readonly release: ReleaseDigest;
    readonly passages: number;
  }): void;
  /** A folder that does not hold. Where it is a save, the last good release serves on. */
  releaseRejected(event: {
    readonly assistant: string;
    readonly problems: readonly string[];
    readonly servesOn: boolean;
  }): void;
  /** From here on this node serves that snapshot. */
  snapshotApplied(event: { readonly revision: number; readonly publishedBy: Id<'node'> }): void;
  /** A snapshot that this node cannot serve, and why: the last good one serves on. */
  snapshotRefused(event: {
    readonly revision: number;
    readonly publishedBy: Id<'node'>;
    readonly reason: string;
  }): void;
  /** This node and another that publishes read different folders; those of `revision` serve. */
  foldersDiffer(event: { readonly revision: number; readonly other: Id<'node'> }): void;
  /** What this node knows of the others. */
  clusterSeen(event: {
    readonly nodes: Readonly<Record<'serving' | 'draining' | 'gone', number>>;
    readonly appliedRevision: number;
    readonly newestRevision: number;
  }): void;
  keyRejected(event: { readonly reason: 'unknown' | 'revoked' | 'expired' | 'malformed' }): void;
  storeFailed(event: { readonly operation: string; readonly code: string }): void;
  /** A defect of ours: with stack, without content. */
  unexpected(event: { readonly where: string; readonly error: unknown; readonly requestId?: string }): void;
  /** Prometheus text. */
  metrics(): Promise<{ readonly contentType: string; readonly body: string }>;
  close(): Promise<void>;
}
