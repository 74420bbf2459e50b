import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import type { TenantId } from '#access';
import { roles as allRoles, type Role } from '#cluster';
import { azureVersion, buildEmbeddings } from './build-embeddings.ts';
import type { BackendFile, ConfigFile } from './config-schema.ts';
import type { AssistantConfig, BackendConfig, Config, ModelSource, PoolConfig, TenantConfig } from './server-config.ts';
import { absentBackend, defaultPool, environmentBackend, knowledgeBackend } from './settle-models.ts';
import type { Surroundings } from './surroundings.ts';

type Built = { readonly ok: true; readonly config: Config } | { readonly ok: false; readonly message: string };

/** Puts file, environment and flags together. Names were checked before. */
export function buildConfig(file: ConfigFile, path: string | undefined, surroundings: Surroundings): Built {
  const { environment, flags, folder, cwd } = surroundings;
  const flaggedData = flags.data ?? environment.data;
  const dataDir = flaggedData === undefined ? resolve(folder, file.data ?? '.usher') : resolve(cwd, flaggedData);
  const roles = rolesOf(file, surroundings);
  if (file.storage.kind === 'sqlite' && roles.length < allRoles.length) return { ok: false, message: loneProcess };
  const tenants = buildTenants(file, surroundings, roles);
  if (!tenants.ok) return tenants;
  const models = modelSource(file, surroundings, dataDir);
  if (!models.ok) return models;
  const backends = buildBackends(file, surroundings);
  const port = flags.port ?? environment.port ?? file.listen.port;
  const config: Config = {
    file: path,
    listen: {
      host: flags.host ?? environment.host ?? file.listen.host,
      port: port ?? 8080,
      portMayMove: port === undefined,
      publicUrl: file.listen.publicUrl?.replace(/\/+$/, ''),
      trustedProxies: file.listen.trustedProxies,
    },
    dataDir,
    storage:
      file.storage.kind === 'sqlite'
        ? {
            kind: 'sqlite',
            path: file.storage.path === undefined ? join(dataDir, 'usher.db') : resolve(folder, file.storage.path),
            bytesMax: file.storage.bytesMax,
          }
        : { kind: 'postgres', poolMax: file.storage.poolMax },
    roles,
    models: models.source,
    backends,
    pools: buildPools(file, backends),
    embeddings: file.embeddings.map(buildEmbeddings),
    tenants: tenants.tenants,
    limits: file.limits,
    tools: buildTools(file, tenants.tenants),
    telemetry: { logLevel: file.telemetry.logLevel, otel: environment.otel },
  };
  return { ok: true, config: deepFreeze(config) };
}

const loneProcess =
  'SQLite serves one process, which needs every role; leave out --role and `roles:`, or keep the data in PostgreSQL (`storage: { kind: postgres }`)';

/** What the process shall do: flags win over the environment, that over the file. */
export function rolesOf(file: ConfigFile, { flags, environment }: Surroundings): readonly Role[] {
  return flags.roles ?? environment.roles ?? file.roles ?? allRoles;
}

function modelSource(
  file: ConfigFile,
  { environment, cwd }: Surroundings,
  dataDir: string,
): { readonly ok: true; readonly source: ModelSource } | { readonly ok: false; readonly message: string } {
  if (file.backends !== undefined) {
    return { ok: true, source: { from: 'configured', why: declaredModels(file.backends), localFile: undefined } };
  }
  if (environment.openaiKey !== undefined || environment.openaiUrl !== undefined) {
    const variable = environment.openaiKey === undefined ? 'OPENAI_BASE_URL' : 'OPENAI_API_KEY';
    const { model, url } = ownBackend(environment);
    const what = model === undefined ? new URL(url ?? '').host : `${model} at ${new URL(url ?? '').host}`;
    return {
      ok: true,
      source: { from: 'environment', why: `${what}, since ${variable} is set`, localFile: undefined },
    };
  }
  const named = environment.modelPath === undefined ? undefined : resolve(cwd, environment.modelPath);
  if (named !== undefined && !existsSync(named)) {
    return { ok: false, message: `USHER_MODEL_PATH names ${named}, which does not exist; correct or unset it` };
  }
  const localFile = named ?? downloadedModel(dataDir);
  return { ok: true, source: { from: 'undecided', why: 'no backend is configured', localFile } };
}

/** `gpt-4.1-mini (main), own`: what each backend runs, where that is known, and its name. */
function declaredModels(backends: readonly BackendFile[]): string {
  const names = backends.map((backend) => {
    const model = 'model' in backend ? backend.model : undefined;
    return model === undefined ? backend.name : `${model} (${backend.name})`;
  });
  return `${names.join(', ')}, declared in usher.yaml`;
}

function ownBackend({ openaiUrl, openaiModel }: Surroundings['environment']): BackendConfig {
  return environmentBackend(openaiUrl ?? 'https://api.openai.com/v1', openaiModel);
}

/** The model file that was downloaded last into the data folder. */
function downloadedModel(dataDir: string): string | undefined {
  const folder = join(dataDir, 'models');
  if (!existsSync(folder)) return undefined;
  return readdirSync(folder)
    .filter((name) => name.endsWith('.gguf'))
    .map((name) => join(folder, name))
    .toSorted((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
}

function buildBackends(file: ConfigFile, { environment, folder }: Surroundings): readonly BackendConfig[] {
  if (file.backends === undefined) {
    if (environment.openaiKey === undefined && environment.openaiUrl === undefined) return [];
    return [ownBackend(environment)];
  }
  const declared = file.backends.map((backend) => buildBackend(backend, folder));
  const wanted = (file.pools ?? []).some((pool) => pool.fallback === 'knowledge');
  return wanted && !declared.some((backend) => backend.kind === 'knowledge')
    ? [...declared, knowledgeBackend]
    : declared;
}

const concurrencyDefaults = { openai: 64, 'azure-openai': 64, 'openai-compatible': 16, local: 1 } as const;

function buildBackend(backend: BackendFile, folder: string): BackendConfig {
  if (backend.kind === 'knowledge') return { ...knowledgeBackend, name: backend.name };
  return {
    ...absentBackend,
    name: backend.name,
    kind: backend.kind,
    url: 'url' in backend ? backend.url.replace(/\/+$/, '') : undefined,
    model: 'model' in backend ? backend.model : undefined,
    deployment: 'deployment' in backend ? backend.deployment : undefined,
    apiVersion: backend.kind === 'azure-openai' ? azureVersion(backend) : undefined,
    modelPath: 'modelPath' in backend ? resolve(folder, backend.modelPath) : undefined,
    contextTokens: backend.contextTokens,
    continuation: 'continuation' in backend ? backend.continuation : 'none',
    concurrency: backend.concurrency ?? concurrencyDefaults[backend.kind],
    requestsPerMinute: backend.requestsPerMinute,
    tokensPerMinute: backend.tokensPerMinute,
  };
}

function buildPools(file: ConfigFile, backends: readonly BackendConfig[]): readonly PoolConfig[] {
  if (file.pools === undefined)
    return backends.length === 0 ? [] : [defaultPool(backends.map((backend) => backend.name))];
  const knowledge = backends.find((backend) => backend.kind === 'knowledge')?.name;
  return file.pools.map((pool) => ({
    name: pool.name,
    backends: pool.backends,
    timeouts: pool.timeouts,
    attemptsMax: pool.attempts,
    fallback: pool.fallback === undefined ? undefined : knowledge,
  }));
}

type BuiltTenants =
  | { readonly ok: true; readonly tenants: readonly TenantConfig[] }
  | { readonly ok: false; readonly message: string };

function buildTenants(file: ConfigFile, surroundings: Surroundings, roles: readonly Role[]): BuiltTenants {
  const { flags, folder, cwd } = surroundings;
  if (flags.assistant !== undefined) {
    const asked = resolve(cwd, flags.assistant);
    if (!existsSync(join(asked, 'assistant.yaml'))) {
      return { ok: false, message: `${asked} has no assistant.yaml; make an assistant folder with: usher init <name>` };
    }
    return { ok: true, tenants: [loneTenant(asked)] };
  }
  if (file.tenants === undefined) {
    if (!roles.includes('control')) return { ok: true, tenants: [] };
    const here = [folder, exampleAssistant].find((candidate) => existsSync(join(candidate, 'assistant.yaml')));
    if (here === undefined) {
      return {
        ok: false,
        message: `${folder} has no assistant.yaml; make an assistant folder with: usher init <name>`,
      };
    }
    return { ok: true, tenants: [loneTenant(here)] };
  }
  const tenants = file.tenants.map((tenant) => ({
    id: tenant.id as TenantId,
    assistants: tenant.assistants.map((assistant) => buildAssistant(assistant, folder)),
    limits: tenant.limits,
    corsOrigins: tenant.corsOrigins,
  }));
  return { ok: true, tenants };
}

/** The assistant that comes with the checkout and with the package. */
const exampleAssistant = fileURLToPath(new URL('../../examples/assistants/guide', import.meta.url));

function loneTenant(folder: string): TenantConfig {
  return {
    id: 'default' as TenantId,
    assistants: [oneFolder(declaredName(folder), folder)],
    limits: { requestsPerMinute: 6000, concurrency: 1000 },
    corsOrigins: [],
  };
}

/** The name in `assistant.yaml`; what else may be wrong with that file is told when it is read as a whole. */
function declaredName(folder: string): string {
  try {
    const content: unknown = parse(readFileSync(join(folder, 'assistant.yaml'), 'utf8'), { logLevel: 'silent' });
    const name: unknown =
      typeof content === 'object' && content !== null && 'name' in content ? content.name : undefined;
    if (typeof name === 'string' && name !== '') return name;
  } catch {
    // Not YAML: the folder's own name stands in until the whole file is read.
  }
  return basename(folder);
}

function buildAssistant(
  assistant: NonNullable<ConfigFile['tenants']>[number]['assistants'][number],
  folder: string,
): AssistantConfig {
  if (assistant.folder !== undefined) return oneFolder(assistant.name, resolve(folder, assistant.folder));
  const environments = Object.entries(assistant.environments ?? {}).map(([name, environment]) => {
    const sides = environment.split ?? [{ folder: environment.folder ?? '.', share: 1 }];
    return [
      name,
      {
        salt: environment.salt ?? `${assistant.name}/${name}`,
        sides: sides.map((side) => ({ folder: resolve(folder, side.folder), share: side.share })),
      },
    ] as const;
  });
  return { name: assistant.name, environments: new Map(environments) };
}

function oneFolder(name: string, folder: string): AssistantConfig {
  return {
    name,
    environments: new Map([['production', { salt: `${name}/production`, sides: [{ folder, share: 1 }] }]]),
  };
}

function buildTools(file: ConfigFile, tenants: readonly TenantConfig[]): Config['tools'] {
  // Without tenants of its own, a node takes those that the file names; left out, it means the usual one.
  const everyTenant = tenants.length === 0 ? undefined : tenants.map(({ id }) => id);
  const allowed = (named: readonly string[] | undefined): readonly TenantId[] => {
    if (everyTenant === undefined) return (named ?? ['default']) as readonly TenantId[];
    return named === undefined ? everyTenant : everyTenant.filter((id) => named.includes(id));
  };
  return {
    credentials: Object.entries(file.tools.credentials).map(([name, { origins, header, scheme, tenants }]) => ({
      name,
      origins,
      header,
      scheme: scheme ?? (header.toLowerCase() === 'authorization' ? 'Bearer' : ''),
      tenants: allowed(tenants),
    })),
    privateOrigins: file.tools.privateOrigins,
  };
}

/** Plain objects and arrays only: a Map keeps its methods, but its values are frozen. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of value instanceof Map ? value.values() : Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
