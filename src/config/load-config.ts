import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import { readYaml, type Problem } from '#base';
import { buildConfig, rolesOf } from './build-config.ts';
import { checkConfig } from './check-config.ts';
import { configSchema, type ConfigFile, type SecretReference } from './config-schema.ts';
import type { Config, Secrets } from './server-config.ts';
import type { Complaints, ConfigProblem } from './problems.ts';
import { readRootKey, readSecret, type SecretRead } from './read-secret.ts';
import { redactProblem } from './redact.ts';
import { environmentOf, type Environment, type Flags, type Surroundings } from './surroundings.ts';

export type LoadedConfig =
  | { readonly ok: true; readonly config: Config; readonly secrets: Secrets }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/**
 * Reads `usher.yaml` (`path`, else `USHER_CONFIG`, else `usher.yaml` in `cwd`, else none), the
 * environment and flags; flags win over the environment, that over the file. Follows every
 * reference to a secret. Never throws for what an owner can mend, and never tells a secret.
 */
export async function loadConfig(request: {
  readonly path?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly flags: Flags;
  readonly cwd: string;
}): Promise<LoadedConfig> {
  const environment = environmentOf(request.env);
  if (!environment.ok) return { ok: false, problems: environment.problems };
  const located = locateFile(request.path ?? environment.value.config, request.cwd);
  if (!located.ok) return { ok: false, problems: [{ file: undefined, message: located.message }] };
  const opened = openFile(located.path, request.cwd);
  if (!opened.ok) return { ok: false, problems: opened.problems };
  const surroundings: Surroundings = {
    cwd: request.cwd,
    folder: located.path === undefined ? request.cwd : dirname(located.path),
    environment: environment.value,
    flags: request.flags,
  };
  const problems: ConfigProblem[] = [];
  const complaints: Complaints = {
    at: (path, message, details) => void problems.push(redactProblem(opened.problemAt(path, message, details))),
  };
  const roles = rolesOf(opened.value, surroundings);
  checkConfig(opened.value, { folder: surroundings.folder, roles }, complaints);
  const secrets = await readSecrets(opened.value, surroundings, request.env, complaints);
  const built = buildConfig(opened.value, located.path, surroundings);
  if (!built.ok) problems.push({ file: undefined, message: built.message });
  if (problems.length > 0 || !built.ok) return { ok: false, problems: problems.toSorted(byPlace) };
  return { ok: true, config: built.config, secrets };
}

/** As they stand in the file; what has no place comes last. */
function byPlace(one: ConfigProblem, other: ConfigProblem): number {
  if (one.file === undefined || other.file === undefined) {
    return Number(one.file === undefined) - Number(other.file === undefined);
  }
  return one.line - other.line || one.column - other.column;
}

function locateFile(
  asked: string | undefined,
  cwd: string,
): { readonly ok: true; readonly path: string | undefined } | { readonly ok: false; readonly message: string } {
  if (asked !== undefined) {
    const path = resolve(cwd, asked);
    return existsSync(path)
      ? { ok: true, path }
      : { ok: false, message: `there is no configuration file ${path}; check the path given to --config` };
  }
  const usual = join(cwd, 'usher.yaml');
  if (existsSync(usual)) return { ok: true, path: usual };
  const misnamed = join(cwd, 'usher.yml');
  if (existsSync(misnamed)) return { ok: false, message: `rename ${misnamed} to usher.yaml, or name it with --config` };
  return { ok: true, path: undefined };
}

type Opened =
  | {
      readonly ok: true;
      readonly value: ConfigFile;
      readonly problemAt: (path: readonly (string | number)[], message: string, details?: object) => Problem;
    }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

function openFile(path: string | undefined, cwd: string): Opened {
  let text = '';
  if (path !== undefined) {
    try {
      text = readFileSync(path, 'utf8');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown reason';
      const message = `${path} cannot be read (${code}); make it a file that the user who runs Usher may read`;
      return { ok: false, problems: [{ file: undefined, message }] };
    }
  }
  const read = readYaml(path === undefined ? 'usher.yaml' : shortPath(path, cwd), text, configSchema);
  return read.ok ? read : { ok: false, problems: read.problems.map((problem) => redactProblem(problem)) };
}

/** As a person in `cwd` would write it. */
function shortPath(path: string, cwd: string): string {
  const short = relative(cwd, path);
  return short.startsWith('..') || isAbsolute(short) ? path : short;
}

async function readSecrets(
  file: ConfigFile,
  surroundings: Surroundings,
  env: Readonly<Record<string, string | undefined>>,
  complaints: Complaints,
): Promise<Secrets> {
  const complain = (path: readonly (string | number)[], read: SecretRead & { readonly ok: false }): void =>
    complaints.at([...path, read.part], read.message, { secret: read.part !== 'env' });
  const keysOf = async (
    section: string,
    declared: readonly { readonly name: string; readonly key?: SecretReference | undefined }[],
  ): Promise<Map<string, string>> => {
    const keys = new Map<string, string>();
    for (const [index, { name, key }] of declared.entries()) {
      if (key === undefined) continue;
      const read = await readSecret(key, env, surroundings.folder);
      if (read.ok) keys.set(name, read.value);
      else complain([section, index, 'key'], read);
    }
    return keys;
  };
  const backendKeys = await keysOf('backends', file.backends ?? []);
  if (file.backends === undefined) addEnvironmentKey(surroundings.environment, backendKeys);
  const toolCredentials = new Map<string, string>();
  for (const [name, credential] of Object.entries(file.tools.credentials)) {
    const path = ['tools', 'credentials', name, 'secret'];
    const read = await readSecret(credential.secret, env, surroundings.folder);
    if (!read.ok) complain(path, read);
    else if (/^[\x21-\x7e]+( [\x21-\x7e]+)*$/.test(read.value)) toolCredentials.set(name, read.value);
    else
      complain(path, {
        ok: false,
        part: partOf(credential.secret),
        message: 'must be one line of printable ASCII, since it is sent in a header',
      });
  }
  return {
    backendKeys,
    embeddingKeys: await keysOf('embeddings', file.embeddings),
    toolCredentials,
    postgresUrl: await readPostgresUrl(file, surroundings, env, complain),
    rootKeys: await readRootKeys(file, surroundings, env, complain),
  };
}

function partOf(reference: SecretReference): 'env' | 'file' {
  return reference.env === undefined ? 'file' : 'env';
}

function addEnvironmentKey(environment: Environment, backendKeys: Map<string, string>): void {
  if (environment.openaiKey !== undefined) backendKeys.set('openai', environment.openaiKey);
}

type Complain = (path: readonly (string | number)[], read: SecretRead & { readonly ok: false }) => void;

async function readPostgresUrl(
  file: ConfigFile,
  surroundings: Surroundings,
  env: Readonly<Record<string, string | undefined>>,
  complain: Complain,
): Promise<string | undefined> {
  if (file.storage.kind !== 'postgres') return undefined;
  const read = await readSecret(file.storage.url, env, surroundings.folder);
  const part = partOf(file.storage.url);
  if (!read.ok) complain(['storage', 'url'], read);
  else if (/^postgres(ql)?:\/\/\S+$/.test(read.value)) return read.value;
  else complain(['storage', 'url'], { ok: false, part, message: 'must hold postgres://user:password@host/database' });
  return undefined;
}

async function readRootKeys(
  file: ConfigFile,
  surroundings: Surroundings,
  env: Readonly<Record<string, string | undefined>>,
  complain: Complain,
): Promise<readonly Uint8Array[] | undefined> {
  if (file.vault.rootKeys === undefined) return undefined;
  const keys: Uint8Array[] = [];
  for (const [index, reference] of file.vault.rootKeys.entries()) {
    const read = await readRootKey(reference, env, surroundings.folder);
    if (read.ok) keys.push(read.key);
    else complain(['vault', 'rootKeys', index], read);
  }
  return keys;
}
