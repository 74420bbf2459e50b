import { basename } from 'node:path';
import type { BackendConfig, Config, PoolConfig } from './server-config.ts';

/** A model server that was found on this machine. */
export interface FoundServer {
  /** `ollama`, `llama.cpp`. */
  readonly name: string;
  /** Base address, up to and including `/v1`. */
  readonly url: string;
  readonly models: readonly string[];
}

/** A backend about which nothing is said. */
export const absentBackend = {
  url: undefined,
  model: undefined,
  deployment: undefined,
  apiVersion: undefined,
  modelPath: undefined,
  contextTokens: undefined,
  continuation: 'none' as const,
  requestsPerMinute: undefined,
  tokensPerMinute: undefined,
};

/** Where the owner declared none of that kind. */
export const knowledgeBackend: BackendConfig = {
  ...absentBackend,
  name: 'knowledge',
  kind: 'knowledge',
  concurrency: 1000,
};

/** What the terminal and the page say where no model answers. */
export const knowledgeOnly = "none, so answers are quoted from the assistant's own knowledge";

/** A model on this machine's own processor reads a long prompt slowly: minutes, where a service needs seconds. */
const localTimeouts = { connectMs: 5_000, firstTokenMs: 300_000, betweenTokensMs: 60_000, wholeMs: 1_800_000 };
const serviceTimeouts = { connectMs: 5_000, firstTokenMs: 60_000, betweenTokensMs: 30_000, wholeMs: 600_000 };

/**
 * Decides which model answers where the configuration names none: the first local server that has a
 * model, else a local model file, else knowledge alone. Anything already decided stays as it is.
 */
export function settleModels(config: Config, servers: readonly FoundServer[]): Config {
  if (config.models.from !== 'undecided') return config;
  const server = servers.find((candidate) => candidate.models.length > 0);
  if (server !== undefined) return withServer(config, server);
  if (config.models.localFile !== undefined) return withLocalFile(config, config.models.localFile);
  return {
    ...config,
    models: {
      from: 'knowledge',
      why: knowledgeOnly,
      localFile: undefined,
    },
    ...onlyBackend(knowledgeBackend),
  };
}

/** The backend that `OPENAI_API_KEY` or `OPENAI_BASE_URL` stand for. */
export function environmentBackend(url: string, model: string | undefined): BackendConfig {
  const official = new URL(url).hostname === 'api.openai.com';
  return {
    ...absentBackend,
    name: 'openai',
    kind: official ? 'openai' : 'openai-compatible',
    url,
    model: model ?? (official ? 'gpt-4.1-mini' : undefined),
    concurrency: 64,
  };
}

/** The pool that stands where none is declared. */
export function defaultPool(
  backends: readonly string[],
  timeouts: PoolConfig['timeouts'] = serviceTimeouts,
): PoolConfig {
  return { name: 'default', backends, timeouts, attemptsMax: 3, fallback: undefined };
}

function onlyBackend(backend: BackendConfig, timeouts = serviceTimeouts): Pick<Config, 'backends' | 'pools'> {
  return { backends: [backend], pools: [defaultPool([backend.name], timeouts)] };
}

function withServer(config: Config, server: FoundServer): Config {
  const model = server.models[0];
  return {
    ...config,
    models: {
      from: 'server',
      why: `${model}, from ${server.name} on this machine (${new URL(server.url).host})`,
      localFile: undefined,
    },
    ...onlyBackend(
      {
        ...absentBackend,
        name: server.name.replace(/[^a-z0-9-]/g, '-'),
        kind: 'openai-compatible',
        url: server.url,
        model,
        concurrency: 4,
      },
      localTimeouts,
    ),
  };
}

function withLocalFile(config: Config, modelPath: string): Config {
  return {
    ...config,
    models: { from: 'file', why: `${basename(modelPath)}, on this machine`, localFile: modelPath },
    ...onlyBackend({ ...absentBackend, name: 'local', kind: 'local', modelPath, concurrency: 1 }, localTimeouts),
  };
}
