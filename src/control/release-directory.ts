import { nearestWord, summarizeProblem, UsherError, type Problem } from '#base';
import type { TenantId } from '#access';
import type { AssistantConfig, TenantConfig } from '#config';
import { assign, type Side } from '#experiment';
import type { ListedAssistant, Passage, ReleaseDigest, ReleaseDirectory, ServedRelease, Target } from '#release';
import type { Telemetry } from '#telemetry';
import { loadAssistantFolder, type LoadedFolder } from './load-assistant-folder.ts';
import { ReleaseArchive, type PreparedRelease } from './release-archive.ts';
import type { PublishRooms } from './publish-release.ts';

export interface DirectoryRooms extends PublishRooms {
  readonly telemetry: Pick<Telemetry, 'releaseLoaded' | 'releaseRejected'>;
}

/** An environment of an assistant of a tenant. */
interface Place {
  readonly tenant: TenantId;
  readonly assistant: string;
  readonly environment: string;
}

/** An environment whose folders do not hold; where it served before, its last good releases serve on. */
export interface RejectedRelease extends Place {
  readonly problems: readonly Problem[];
}

/** A release that serves where another one did before, or where the last edit was rejected. */
export interface LoadedRelease extends Place {
  readonly digest: ReleaseDigest;
  readonly passages: number;
}

export interface Reload {
  readonly loaded: readonly LoadedRelease[];
  readonly rejected: readonly RejectedRelease[];
}

interface Environment {
  readonly salt: string;
  readonly sides: readonly Side<ServedRelease>[];
  readonly loadedAtMs: number;
}

type Assistants = ReadonlyMap<string, ReadonlyMap<string, Environment>>;
type Snapshot = ReadonlyMap<TenantId, Assistants>;

type ConfiguredEnvironment = AssistantConfig['environments'] extends ReadonlyMap<string, infer E> ? E : never;

/**
 * Reads every declared folder, publishes what holds and opens the directory over it. What is
 * rejected does not serve; the caller decides whether to start without it.
 *
 * @param pools names of the pools that exist; an assistant that names another is rejected
 * @param credentialsOf names of the tool credentials that a tenant's assistants may use; undefined: not checked
 * @throws UsherError of the store and the vault
 */
export async function openReleaseDirectory(
  rooms: DirectoryRooms,
  tenants: readonly TenantConfig[],
  pools: readonly string[],
  credentialsOf?: (tenant: TenantId) => readonly string[],
): Promise<{ readonly directory: FolderReleaseDirectory; readonly rejected: readonly RejectedRelease[] }> {
  const directory = new FolderReleaseDirectory(rooms, tenants, pools, credentialsOf);
  const { rejected } = await directory.reload();
  return { directory, rejected };
}

/** The directory of what the folders of `usher.yaml` hold. Readers see one whole snapshot or the next. */
export class FolderReleaseDirectory implements ReleaseDirectory {
  readonly #rooms: DirectoryRooms;
  readonly #tenants: readonly TenantConfig[];
  readonly #pools: readonly string[];
  readonly #credentialsOf: ((tenant: TenantId) => readonly string[]) | undefined;
  readonly #archive: ReleaseArchive;
  #snapshot: Snapshot = new Map();
  /** Environments whose last reload was rejected: mended ones are told, also when nothing else changed. */
  #mending: ReadonlySet<string> = new Set();
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(
    rooms: DirectoryRooms,
    tenants: readonly TenantConfig[],
    pools: readonly string[],
    credentialsOf?: (tenant: TenantId) => readonly string[],
  ) {
    this.#rooms = rooms;
    this.#tenants = tenants;
    this.#pools = pools;
    this.#credentialsOf = credentialsOf;
    this.#archive = new ReleaseArchive(rooms);
  }

  /** Every folder that a release comes from, absolute. */
  folders(): readonly string[] {
    const sides = this.#tenants
      .flatMap((tenant) => tenant.assistants)
      .flatMap((assistant) => Array.from(assistant.environments.values()))
      .flatMap((environment) => environment.sides);
    return [...new Set(sides.map((side) => side.folder))];
  }

  /**
   * Reads the folders again, publishes what changed, and swaps the snapshot. An environment changes
   * as a whole or not at all. One reload at a time.
   *
   * @throws UsherError of the store and the vault; the old snapshot serves on
   */
  reload(): Promise<Reload> {
    const reload = this.#reloading.then(() => this.#reload());
    // The next one in line does not care how this one ended; its own caller is told.
    this.#reloading = reload.catch(() => undefined);
    return reload;
  }

  async #reload(): Promise<Reload> {
    const folders = new Map<string, LoadedFolder>();
    const loaded: LoadedRelease[] = [];
    const rejected: RejectedRelease[] = [];
    const next = new Map<TenantId, Map<string, Map<string, Environment>>>();
    for (const tenant of this.#tenants) {
      const assistants = new Map<string, Map<string, Environment>>();
      next.set(tenant.id, assistants);
      for (const assistant of tenant.assistants) {
        const environments = new Map<string, Environment>();
        for (const [name, configured] of assistant.environments) {
          const at = { tenant: tenant.id, assistant: assistant.name, environment: name };
          const before = this.#environment(at.tenant, at.assistant, at.environment);
          const { environment, problems } = await this.#loadEnvironment(at, configured, folders, before);
          if (environment !== undefined) environments.set(name, environment);
          if (problems.length > 0) rejected.push({ ...at, problems });
          else loaded.push(...changesBetween(at, this.#mending.has(keyOf(at)) ? undefined : before, environment));
        }
        if (environments.size > 0) assistants.set(assistant.name, environments);
      }
    }
    this.#snapshot = next;
    this.#mending = new Set(rejected.map((environment) => keyOf(environment)));
    this.#report(loaded, rejected);
    return { loaded, rejected };
  }

  /** The environment as it shall serve now: the new one where all its sides hold, else the one before. */
  async #loadEnvironment(
    at: Place,
    configured: ConfiguredEnvironment,
    folders: Map<string, LoadedFolder>,
    before: Environment | undefined,
  ): Promise<{ readonly environment: Environment | undefined; readonly problems: readonly Problem[] }> {
    const sides: Side<ServedRelease>[] = [];
    const problems: Problem[] = [];
    for (const { folder, share } of configured.sides) {
      const key = `${at.tenant}\0${at.assistant}\0${folder}`;
      const read = folders.get(key) ?? (await this.#loadFolder(folder, at));
      folders.set(key, read);
      if (!read.ok) {
        problems.push(...read.problems);
        continue;
      }
      const prepared = await this.#archive.publish(at.tenant, read.release);
      sides.push({ share, value: served(at.assistant, at.environment, prepared) });
    }
    if (problems.length > 0) return { environment: before, problems };
    if (before !== undefined && sameReleases(before.sides, sides)) return { environment: before, problems };
    return { environment: { salt: configured.salt, sides, loadedAtMs: this.#rooms.clock.wallMs() }, problems };
  }

  async #loadFolder(folder: string, { tenant, assistant }: Place): Promise<LoadedFolder> {
    const credentials = this.#credentialsOf?.(tenant);
    return loadAssistantFolder(folder, {
      expectedName: assistant,
      pools: this.#pools,
      ...(credentials === undefined ? {} : { credentials }),
    });
  }

  #report(loaded: readonly LoadedRelease[], rejected: readonly RejectedRelease[]): void {
    const { telemetry } = this.#rooms;
    for (const { assistant, environment, digest, passages } of loaded) {
      telemetry.releaseLoaded({ assistant, environment, release: digest, passages });
    }
    for (const { assistant, problems } of rejected) {
      telemetry.releaseRejected({ assistant, problems: problems.map((problem) => summarizeProblem(problem)) });
    }
  }

  async resolve(tenant: TenantId, modelName: string): Promise<Target> {
    const cut = modelName.indexOf('@');
    const assistant = cut === -1 ? modelName : modelName.slice(0, cut);
    const environments = this.#assistant(tenant, assistant);
    if (cut === -1) return { kind: 'environment', tenant, assistant, environment: defaultEnvironment(environments) };
    const version = modelName.slice(cut + 1);
    if (environments.has(version)) return { kind: 'environment', tenant, assistant, environment: version };
    const hex = /^(?:sha256:)?([0-9a-f]{8,64})$/iu.exec(version)?.[1]?.toLowerCase();
    if (hex === undefined) throw noSuchVersion(assistant, version, [...environments.keys()]);
    return { kind: 'release', tenant, assistant, digest: await this.#digestOf(tenant, assistant, hex) };
  }

  async choose(target: Target, unitId: string): Promise<ServedRelease> {
    if (target.kind === 'release') return this.byDigest(target.tenant, target.assistant, 'pinned', target.digest);
    const environment = this.#assistant(target.tenant, target.assistant).get(target.environment);
    if (environment === undefined) {
      const known = [...this.#assistant(target.tenant, target.assistant).keys()];
      throw noSuchVersion(target.assistant, target.environment, known);
    }
    return assign(environment.salt, unitId, environment.sides);
  }

  async byDigest(
    tenant: TenantId,
    assistant: string,
    environment: string,
    digest: ReleaseDigest,
  ): Promise<ServedRelease> {
    for (const { sides } of this.#snapshot.get(tenant)?.get(assistant)?.values() ?? []) {
      const side = sides.find(({ value }) => value.release.digest === digest);
      if (side !== undefined) return Object.freeze({ ...side.value, environment });
    }
    const prepared = await this.#archive.open(tenant, assistant, digest);
    if (prepared === undefined) throw noSuchRelease(assistant, digest);
    return served(assistant, environment, prepared);
  }

  list(tenant: TenantId): readonly ListedAssistant[] {
    return [...(this.#snapshot.get(tenant) ?? [])].map(([assistant, environments]) => {
      const shown = environments.get(defaultEnvironment(environments))!;
      const { title, description } = shown.sides[0]!.value.release.spec;
      return {
        assistant,
        title,
        description,
        environments: [...environments].map(([environment, { sides }]) => ({
          environment,
          releases: sides.map(({ value }) => value.release.digest),
        })),
        loadedAtMs: Math.max(...[...environments.values()].map(({ loadedAtMs }) => loadedAtMs)),
      };
    });
  }

  #environment(tenant: TenantId, assistant: string, environment: string): Environment | undefined {
    return this.#snapshot.get(tenant)?.get(assistant)?.get(environment);
  }

  #assistant(tenant: TenantId, name: string): ReadonlyMap<string, Environment> {
    const assistants = this.#snapshot.get(tenant);
    const environments = assistants?.get(name);
    if (environments !== undefined) return environments;
    throw noSuchAssistant(name, [...(assistants?.keys() ?? [])]);
  }

  /** The one digest that begins with `hex`, among those served and those stored. */
  async #digestOf(tenant: TenantId, assistant: string, hex: string): Promise<ReleaseDigest> {
    const prefix = `sha256:${hex}`;
    const stored = await this.#rooms.store.reach({ tenant, subject: null }).releasesByPrefix(assistant, prefix);
    const [digest, another] = stored;
    if (digest === undefined) throw noSuchRelease(assistant, prefix);
    if (another !== undefined) {
      const message = `More than one release of "${assistant}" begins with ${prefix}. Give more digits.`;
      throw new UsherError('invalid_request', message, { param: 'model' });
    }
    return digest;
  }
}

function served(assistant: string, environment: string, { release, index }: PreparedRelease): ServedRelease {
  return Object.freeze({
    assistant,
    environment,
    release,
    topics: documentTitles(release.passages),
    search: (question: string, most: number) => index.search(question, most),
  });
}

function keyOf({ tenant, assistant, environment }: Place): string {
  return JSON.stringify([tenant, assistant, environment]);
}

/** A passage is titled by its document, then by its section: `Architecture › Rooms`. */
function documentTitles(passages: readonly Passage[]): readonly string[] {
  return [...new Set(passages.map(({ title }) => title.split(' › ')[0]!))];
}

function sameReleases(a: readonly Side<ServedRelease>[], b: readonly Side<ServedRelease>[]): boolean {
  return a.length === b.length && a.every((side, at) => side.value.release.digest === b[at]!.value.release.digest);
}

function changesBetween(
  at: Place,
  before: Environment | undefined,
  after: Environment | undefined,
): readonly LoadedRelease[] {
  if (after === undefined || after === before) return [];
  const known = new Set(before?.sides.map(({ value }) => value.release.digest));
  return after.sides
    .filter(({ value }) => !known.has(value.release.digest))
    .map(({ value: { release } }) => Object.assign({ digest: release.digest, passages: release.passages.length }, at));
}

/** What a bare name means: `production`, or the first environment declared where there is none of that name. */
function defaultEnvironment(environments: ReadonlyMap<string, Environment>): string {
  if (environments.has('production')) return 'production';
  const [first] = environments.keys();
  return first!;
}

function noSuchAssistant(name: string, known: readonly string[]): UsherError {
  const message = `There is no assistant ${quoted(name)}. ${suggestion(name, known, 'Assistants here')}`;
  return new UsherError('not_found', message, { param: 'model' });
}

function noSuchVersion(assistant: string, version: string, known: readonly string[]): UsherError {
  const hint = suggestion(version, known, 'Environments');
  const message = `The assistant "${assistant}" has no environment ${quoted(version)}, and no release is named so. ${hint}`;
  return new UsherError('not_found', message, { param: 'model' });
}

function noSuchRelease(assistant: string, digest: string): UsherError {
  const message = `The assistant "${assistant}" has no release ${digest}. Leave the digest out to talk with the current one.`;
  return new UsherError('not_found', message, { param: 'model' });
}

function suggestion(word: string, known: readonly string[], title: string): string {
  const nearest = nearestWord(word, known);
  if (nearest !== undefined) return `Did you mean "${nearest}"?`;
  return known.length === 0 ? `${title}: none.` : `${title}: ${known.slice(0, 10).join(', ')}.`;
}

/** A caller's word as an error may repeat it: short and printable. */
function quoted(word: string): string {
  return JSON.stringify(word.length > 80 ? `${word.slice(0, 80)}…` : word);
}
