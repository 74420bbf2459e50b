import type { TenantId } from '#access';
import type { AttemptTimeouts } from '#backend';

/** `usher.yaml`, environment and flags, validated and frozen. Holds no secret: those are in `Secrets`. */
export interface Config {
  readonly listen: {
    readonly host: string;
    /** 0 for any free one. */
    readonly port: number;
    /** How others reach us, where a proxy stands before us; else derived from the socket. */
    readonly publicUrl: string | undefined;
    /** Addresses of proxies whose `X-Forwarded-*` are believed. */
    readonly trustedProxies: readonly string[];
  };
  readonly dataDir: string;
  readonly storage:
    | { readonly kind: 'sqlite'; readonly path: string }
    | { readonly kind: 'postgres'; readonly poolMax: number };
  readonly backends: readonly BackendConfig[];
  readonly pools: readonly PoolConfig[];
  readonly tenants: readonly TenantConfig[];
  readonly limits: {
    readonly bodyBytes: number;
    readonly headerBytes: number;
    readonly jsonDepth: number;
    readonly connections: number;
    readonly headersTimeoutMs: number;
    readonly bodyTimeoutMs: number;
    /** Bytes that may wait for a slow reader before it is dropped. */
    readonly sendBufferBytes: number;
    readonly drainMs: number;
  };
  readonly telemetry: { readonly logLevel: 'debug' | 'info' | 'warn' | 'error'; readonly otel: boolean };
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

/** Resolved secrets, apart from Config so that printing a Config shows none. */
export interface Secrets {
  /** By backend name. */
  readonly backendKeys: ReadonlyMap<string, string>;
  readonly postgresUrl: string | undefined;
  /** Root keys by source other than the data folder's file, current first; undefined: use that file. */
  readonly rootKeys: readonly Uint8Array[] | undefined;
}
