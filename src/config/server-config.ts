import type { TenantId } from '#access';
import type { AttemptTimeouts } from '#backend';
import type { Role } from '#cluster';

/** `usher.yaml`, environment and flags, validated and frozen. Holds no secret: those are in `Secrets`. */
export interface Config {
  /** The `usher.yaml` that was read, absolute; undefined where there is none. */
  readonly file: string | undefined;
  readonly listen: {
    readonly host: string;
    /** 0 for any free one. */
    readonly port: number;
    /** Nobody asked for this port: the next free one will do. */
    readonly portMayMove: boolean;
    /** How others reach us, where a proxy stands before us; else derived from the socket. */
    readonly publicUrl: string | undefined;
    /** Addresses of proxies whose `X-Forwarded-*` are believed. */
    readonly trustedProxies: readonly string[];
  };
  readonly dataDir: string;
  readonly storage:
    | { readonly kind: 'sqlite'; readonly path: string; readonly bytesMax: number | undefined }
    | { readonly kind: 'postgres'; readonly poolMax: number };
  /** What this process does among those that share the database. */
  readonly roles: readonly Role[];
  readonly models: ModelSource;
  readonly backends: readonly BackendConfig[];
  readonly pools: readonly PoolConfig[];
  readonly embeddings: readonly EmbeddingsConfig[];
  /** What this node publishes where it has the role `control`; else nothing is read of it. */
  readonly tenants: readonly TenantConfig[];
  readonly limits: {
    readonly bodyBytes: number;
    readonly headerBytes: number;
    readonly jsonDepth: number;
    readonly connections: number;
    readonly connectionsPerAddress: number;
    readonly headersTimeoutMs: number;
    readonly bodyTimeoutMs: number;
    /** Bytes that may wait for a slow reader before it is dropped. */
    readonly sendBufferBytes: number;
    /** How long a stop says no on `/readyz` before it turns anybody away. */
    readonly announceMs: number;
    readonly drainMs: number;
  };
  readonly tools: {
    readonly credentials: readonly ToolCredentialConfig[];
    /** Origins that are no public ones and that tools may reach all the same. */
    readonly privateOrigins: readonly string[];
  };
  readonly telemetry: { readonly logLevel: 'debug' | 'info' | 'warn' | 'error'; readonly otel: boolean };
}

/** Where the answering model comes from, and the sentence that says why. */
export interface ModelSource {
  /** `undecided`: no backend was configured; `settleModels` decides once local servers were looked for. */
  readonly from: 'configured' | 'environment' | 'undecided' | 'server' | 'file' | 'knowledge';
  readonly why: string;
  /** A GGUF file to run where no server was found. */
  readonly localFile: string | undefined;
}

export interface BackendConfig {
  readonly name: string;
  readonly kind: 'openai' | 'azure-openai' | 'openai-compatible' | 'local' | 'knowledge';
  /** Base address, up to and including `/v1` (Azure: the resource's address). */
  readonly url: string | undefined;
  readonly model: string | undefined;
  /** Azure only. */
  readonly deployment: string | undefined;
  readonly apiVersion: string | undefined;
  /** Local model: path of the GGUF file. */
  readonly modelPath: string | undefined;
  readonly contextTokens: number | undefined;
  /** How it is asked to go on with an answer that broke off. */
  readonly continuation: 'none' | 'final-message' | 'prefix' | 'assistant';
  readonly concurrency: number;
  readonly requestsPerMinute: number | undefined;
  readonly tokensPerMinute: number | undefined;
}

export interface PoolConfig {
  readonly name: string;
  readonly backends: readonly string[];
  readonly timeouts: AttemptTimeouts;
  /** Attempts of one turn over all pools' backends, the first included. */
  readonly attemptsMax: number;
  /** The backend of last resort, of kind `knowledge`; never picked while another can answer. */
  readonly fallback: string | undefined;
}

/** One embedding model, by the name that applications ask for. */
export interface EmbeddingsConfig {
  readonly name: string;
  readonly kind: 'openai' | 'azure-openai' | 'openai-compatible';
  /** Base address, up to and including `/v1` (Azure: the resource's address). */
  readonly url: string;
  /** What its server calls it; undefined for Azure's deployments. */
  readonly model: string | undefined;
  /** Azure only. */
  readonly deployment: string | undefined;
  readonly apiVersion: string | undefined;
  readonly batchTexts: number;
  readonly timeoutMs: number;
}

export interface TenantConfig {
  readonly id: TenantId;
  readonly assistants: readonly AssistantConfig[];
  readonly limits: { readonly requestsPerMinute: number; readonly concurrency: number };
  /** Origins whose browsers may call the API with a key of this tenant. */
  readonly corsOrigins: readonly string[];
}

export interface AssistantConfig {
  readonly name: string;
  /** Environment name to the releases it serves; one release alone has share 1. */
  readonly environments: ReadonlyMap<
    string,
    { readonly salt: string; readonly sides: readonly { readonly folder: string; readonly share: number }[] }
  >;
}

/** A secret that tools may send; the secret itself is in `Secrets`. */
export interface ToolCredentialConfig {
  readonly name: string;
  /** The only origins it is sent to. */
  readonly origins: readonly string[];
  readonly header: string;
  /** The word before the secret; empty for none. */
  readonly scheme: string;
  readonly tenants: readonly TenantId[];
}

/** Resolved secrets, apart from Config so that printing a Config shows none. */
export interface Secrets {
  /** By backend name. */
  readonly backendKeys: ReadonlyMap<string, string>;
  /** By name of the embedding model. */
  readonly embeddingKeys: ReadonlyMap<string, string>;
  /** By name of the tool credential. */
  readonly toolCredentials: ReadonlyMap<string, string>;
  readonly postgresUrl: string | undefined;
  /** Root keys by source other than the data folder's file, current first; undefined: use that file. */
  readonly rootKeys: readonly Uint8Array[] | undefined;
}
