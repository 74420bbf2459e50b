import type { SubjectId, TenantId } from '#access';
import type { Release } from '#release';

export interface ToolContext {
  readonly tenant: TenantId;
  readonly subject: SubjectId;
  readonly assistant: string;
  /** Stable over re-runs of the same call. Sent as `Idempotency-Key` to HTTP tools. */
  readonly idempotencyKey: string;
  /** The end user's own bearer, where the caller gave one; only tools that declare it get it. */
  readonly userAuthorisation: string | undefined;
}

export type ToolOutcome =
  /** Text, or JSON text, for the model. */
  | { readonly result: 'done'; readonly output: string }
  /** A sentence that the model may read; no secrets. */
  | { readonly result: 'failed'; readonly message: string };

export interface ServerTool {
  /** What the model calls, unique within the assistant. */
  readonly name: string;
  /** Label of the OpenAPI document or MCP server, or `http`. */
  readonly source: string;
  readonly description?: string;
  /** JSON Schema of the arguments. */
  readonly parameters?: object;
  readonly idempotent: boolean;
  readonly confirm: boolean;
  readonly timeoutMs: number;
}

export interface ToolSet {
  readonly tools: readonly ServerTool[];
  /**
   * Never throws for what the tool did, and settles within 100 ms of an abort. Arguments that do not
   * fit the schema are told to the model.
   */
  call(name: string, argumentsJson: string, context: ToolContext, signal: AbortSignal): Promise<ToolOutcome>;
}

export interface ToolRoom {
  /** Tools of a release. What a server lists is cached; one that cannot be listed now is left out and reported. */
  of(release: Release, tenant: TenantId): Promise<ToolSet>;
  close(): Promise<void>;
}

/** A secret that tools may send, and where to. */
export interface ToolCredential {
  readonly name: string;
  readonly secret: string;
  readonly header: string;
  /** The word before the secret; empty for none. */
  readonly scheme: string;
  readonly origins: readonly string[];
  readonly tenants: readonly TenantId[];
}
