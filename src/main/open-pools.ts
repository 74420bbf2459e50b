import { join } from 'node:path';
import { systemClock, UsherError } from '#base';
import { openKnowledgeBackend, openLocalBackend, openOpenAiBackend, type Backend } from '#backend';
import { createPools, type MemberOptions, type Pool } from '#balancer';
import type { BackendConfig, Config, PoolConfig, Secrets } from '#config';
import { BackendPool } from '#turn';

/** Every declared backend, opened once, and the pools over them. */
export interface OpenedPools extends AsyncDisposable {
  readonly backends: readonly Backend[];
  readonly pools: readonly BackendPool[];
  /** @throws UsherError `config_invalid` where no pool has that name */
  pool(name: string): BackendPool;
}

/** @throws UsherError where a local model cannot be started */
export async function openPools(config: Config, secrets: Secrets): Promise<OpenedPools> {
  await using opening = new AsyncDisposableStack();
  const backends = new Map<string, Backend>();
  for (const declared of config.backends) {
    const backend = await openBackend(declared, config, secrets.backendKeys.get(declared.name));
    backends.set(
      declared.name,
      opening.adopt(backend, (opened) => opened.close()),
    );
  }
  const balanced = createPools({
    members: config.backends.map(memberOf),
    pools: rosters(config.pools),
    random: Math.random,
  });
  const pools = new Map(config.pools.map((pool) => [pool.name, openPool(pool, balanced, backends)]));
  const opened = opening.move();
  return {
    backends: [...backends.values()],
    pools: [...pools.values()],
    pool: (name) => {
      const pool = pools.get(name);
      if (pool === undefined)
        throw new UsherError('config_invalid', `There is no pool ${name}. Declare it in usher.yaml.`);
      return pool;
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

async function openBackend(declared: BackendConfig, config: Config, apiKey: string | undefined): Promise<Backend> {
  const { name, kind, url, model, deployment, apiVersion, modelPath, contextTokens, continuation } = declared;
  switch (kind) {
    case 'knowledge':
      // Beside models it speaks only when they are all down, and says so.
      return openKnowledgeBackend({ name, occasion: config.backends.length > 1 ? 'stand-in' : 'alone' });
    case 'local':
      return openLocalBackend({
        name,
        modelPath: required(name, 'modelPath', modelPath),
        contextTokens,
        runtimeDir: join(config.dataDir, 'local-runtime'),
      });
    case 'openai':
    case 'azure-openai':
    case 'openai-compatible':
      return openOpenAiBackend({
        name,
        kind,
        url: required(name, 'url', url),
        model,
        apiKey,
        deployment,
        apiVersion,
        continuation,
      });
  }
}

function required(backend: string, field: string, value: string | undefined): string {
  if (value !== undefined) return value;
  throw new UsherError('config_invalid', `The backend ${backend} needs "${field}". Add it in usher.yaml.`);
}

function memberOf({ name, concurrency, requestsPerMinute, tokensPerMinute }: BackendConfig): MemberOptions {
  return {
    name,
    concurrency,
    ...(requestsPerMinute === undefined ? {} : { requestsPerMinute }),
    ...(tokensPerMinute === undefined ? {} : { tokensPerMinute }),
  };
}

/** Members of each pool by name. A fallback is a pool of one, picked only when the others cannot answer. */
function rosters(pools: readonly PoolConfig[]): ReadonlyMap<string, readonly string[]> {
  const rosters = new Map<string, readonly string[]>();
  for (const { name, backends, fallback } of pools) {
    rosters.set(name, backends);
    if (fallback !== undefined) rosters.set(fallbackName(name), [fallback]);
  }
  return rosters;
}

/** A slash cannot stand in a configured name. */
const fallbackName = (pool: string): string => `${pool}/fallback`;

function openPool(
  declared: PoolConfig,
  balanced: ReadonlyMap<string, Pool>,
  backends: ReadonlyMap<string, Backend>,
): BackendPool {
  const { timeouts, attemptsMax } = declared;
  const open = (name: string, limits: { attemptsMax: number; fallback: BackendPool | undefined }): BackendPool =>
    new BackendPool({ name, pool: balanced.get(name)!, backends, timeouts, clock: systemClock, ...limits });
  const fallback =
    declared.fallback === undefined
      ? undefined
      : open(fallbackName(declared.name), { attemptsMax: Infinity, fallback: undefined });
  return open(declared.name, { attemptsMax, fallback });
}
