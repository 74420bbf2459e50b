import { join } from 'node:path';
import { systemClock, UsherError } from '#base';
import { openKnowledgeBackend, openLocalBackend, openOpenAiBackend, type Backend } from '#backend';
import { createPool, type MemberOptions } from '#balancer';
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
    const backend = await openBackend(declared, config.dataDir, secrets.backendKeys.get(declared.name));
    backends.set(
      declared.name,
      opening.adopt(backend, (opened) => opened.close()),
    );
  }
  const members = new Map(config.backends.map((backend) => [backend.name, memberOf(backend)]));
  const pools = new Map(config.pools.map((pool) => [pool.name, openPool(pool, members, backends)]));
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

async function openBackend(declared: BackendConfig, dataDir: string, apiKey: string | undefined): Promise<Backend> {
  const { name, kind, url, model, deployment, apiVersion, modelPath, contextTokens } = declared;
  switch (kind) {
    case 'knowledge':
      return openKnowledgeBackend({ name });
    case 'local':
      return openLocalBackend({
        name,
        modelPath: required(name, 'modelPath', modelPath),
        contextTokens,
        runtimeDir: join(dataDir, 'local-runtime'),
      });
    case 'openai':
    case 'azure-openai':
    case 'openai-compatible':
      return openOpenAiBackend({ name, kind, url: required(name, 'url', url), model, apiKey, deployment, apiVersion });
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

function openPool(
  declared: PoolConfig,
  members: ReadonlyMap<string, MemberOptions>,
  backends: ReadonlyMap<string, Backend>,
): BackendPool {
  const { name, timeouts, attemptsMax, fallback } = declared;
  const over = (names: readonly string[]): ReturnType<typeof createPool> =>
    createPool({ members: names.map((member) => members.get(member)!), random: Math.random });
  const common = { backends, timeouts, clock: systemClock };
  const last =
    fallback === undefined
      ? undefined
      : new BackendPool({
          ...common,
          name: `${name}/fallback`,
          pool: over([fallback]),
          attemptsMax: Infinity,
          fallback: undefined,
        });
  return new BackendPool({ ...common, name, pool: over(declared.backends), attemptsMax, fallback: last });
}
