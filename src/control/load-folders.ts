import { summarizeProblem, type Problem } from '#base';
import type { TenantId } from '#access';
import type { ServedEnvironment, ServedTenant, Snapshot } from '#cluster';
import type { AssistantConfig, TenantConfig } from '#config';
import { DocumentReader } from '#knowledge';
import type { ReleaseDigest } from '#release';
import type { Telemetry } from '#telemetry';
import { loadAssistantFolder, type LoadedFolder } from './load-assistant-folder.ts';
import { namesFor, type NodeMeans } from './node-means.ts';
import type { PublishRooms } from './publish-release.ts';
import type { ReleaseArchive } from './release-archive.ts';

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

export interface FolderRooms extends PublishRooms {
  readonly telemetry: Pick<Telemetry, 'releaseRejected' | 'knowledgeRead'>;
}

type ConfiguredEnvironment = AssistantConfig['environments'] extends ReadonlyMap<string, infer E> ? E : never;

/** Documents to be read from which on it is told how far they are: fewer take a moment. */
const largeFolderDocuments = 50;

/** What one environment's folders hold, as it shall serve. */
interface LoadedEnvironment extends ServedEnvironment {
  readonly passages: readonly number[];
}

/** The folders that `usher.yaml` names, read into releases in the store and the snapshot that names them. */
export class FolderLoader implements AsyncDisposable {
  readonly #rooms: FolderRooms;
  readonly #archive: ReleaseArchive;
  readonly #tenants: readonly TenantConfig[];
  readonly #means: NodeMeans | undefined;
  readonly #documents = new DocumentReader();
  #environments: ReadonlyMap<string, LoadedEnvironment> = new Map();
  /** Environments whose last load was rejected: mended ones are told, also when nothing else changed. */
  #mending: ReadonlySet<string> = new Set();

  /** @param means what there is; an assistant that asks for more is rejected. Undefined: not checked */
  constructor(
    rooms: FolderRooms,
    archive: ReleaseArchive,
    tenants: readonly TenantConfig[],
    means: NodeMeans | undefined,
  ) {
    this.#rooms = rooms;
    this.#archive = archive;
    this.#tenants = tenants;
    this.#means = means;
  }

  /** To be called when nothing is loaded any more. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#documents[Symbol.asyncDispose]();
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
   * Reads the folders again and stores their releases. An environment changes as a whole or not at all.
   *
   * @param standing what serves now: releases that serve already keep the time at which they began to
   * @throws UsherError of the store and the vault; what was loaded before stays
   */
  async load(standing: Snapshot | undefined): Promise<Reload> {
    const folders = new Map<string, LoadedFolder>();
    const loaded: LoadedRelease[] = [];
    const rejected: (RejectedRelease & { readonly servesOn: boolean })[] = [];
    const next = new Map<string, LoadedEnvironment>();
    for (const [at, configured] of this.#places()) {
      const key = keyOf(at);
      const before = this.#environments.get(key);
      const serving = before ?? environmentIn(standing, at);
      const { environment, problems } = await this.#loadEnvironment(at, configured, folders, serving);
      const serves = environment ?? before;
      if (serves !== undefined) next.set(key, serves);
      if (environment === undefined) rejected.push({ ...at, problems, servesOn: before !== undefined });
      else loaded.push(...changesBetween(at, this.#mending.has(key) ? undefined : before, environment));
    }
    this.#environments = next;
    this.#mending = new Set(rejected.map((environment) => keyOf(environment)));
    for (const { assistant, problems, servesOn } of rejected) {
      this.#rooms.telemetry.releaseRejected({
        assistant,
        servesOn,
        problems: problems.map((problem) => summarizeProblem(problem)),
      });
    }
    return { loaded, rejected };
  }

  /** What shall serve, as the folders were when they were last loaded. */
  snapshot(): Snapshot {
    return { tenants: this.#tenants.map((tenant) => this.#servedTenant(tenant)) };
  }

  #servedTenant({ id, limits, corsOrigins, assistants }: TenantConfig): ServedTenant {
    const served = assistants.map(({ name, environments }) => ({
      name,
      environments: [...environments.keys()].flatMap((environment) => {
        const loaded = this.#environments.get(keyOf({ tenant: id, assistant: name, environment }));
        if (loaded === undefined) return [];
        const { passages: _, ...servedEnvironment } = loaded;
        return [servedEnvironment];
      }),
    }));
    const { requestsPerMinute, concurrency } = limits;
    return {
      id,
      limits: { requestsPerMinute, concurrency },
      corsOrigins,
      assistants: served.filter(({ environments }) => environments.length > 0),
    };
  }

  *#places(): Generator<[Place, ConfiguredEnvironment]> {
    for (const tenant of this.#tenants) {
      for (const assistant of tenant.assistants) {
        for (const [environment, configured] of assistant.environments) {
          yield [{ tenant: tenant.id, assistant: assistant.name, environment }, configured];
        }
      }
    }
  }

  /** Undefined with the problems where one of its sides does not hold. */
  async #loadEnvironment(
    at: Place,
    configured: ConfiguredEnvironment,
    folders: Map<string, LoadedFolder>,
    serving: ServedEnvironment | undefined,
  ): Promise<{ readonly environment: LoadedEnvironment | undefined; readonly problems: readonly Problem[] }> {
    const sides: { release: ReleaseDigest; share: number }[] = [];
    const passages: number[] = [];
    const problems: Problem[] = [];
    for (const { folder, share } of configured.sides) {
      const key = `${at.tenant}\0${at.assistant}\0${folder}`;
      const read = folders.get(key) ?? (await this.#loadFolder(folder, at));
      folders.set(key, read);
      if (!read.ok) {
        problems.push(...read.problems);
        continue;
      }
      const { release } = await this.#archive.publish(at.tenant, read.release);
      sides.push({ release: release.digest, share });
      passages.push(release.passages.length);
    }
    if (problems.length > 0) return { environment: undefined, problems };
    const same = serving !== undefined && sameReleases(serving.sides, sides);
    const loadedAtMs = same ? serving.loadedAtMs : this.#rooms.clock.wallMs();
    return { environment: { name: at.environment, salt: configured.salt, sides, loadedAtMs, passages }, problems };
  }

  async #loadFolder(folder: string, { tenant, assistant }: Place): Promise<LoadedFolder> {
    let toldTenths = 0;
    const onProgress = (done: number, total: number): void => {
      const tenths = Math.floor((done / total) * 10);
      if (total >= largeFolderDocuments && tenths > toldTenths) {
        this.#rooms.telemetry.knowledgeRead({ tenant, assistant, done, total });
      }
      toldTenths = tenths;
    };
    return loadAssistantFolder(this.#documents, folder, {
      expectedName: assistant,
      onProgress,
      ...namesFor(this.#means, tenant),
    });
  }
}

function keyOf({ tenant, assistant, environment }: Place): string {
  return JSON.stringify([tenant, assistant, environment]);
}

function environmentIn(snapshot: Snapshot | undefined, at: Place): ServedEnvironment | undefined {
  return snapshot?.tenants
    .find(({ id }) => id === at.tenant)
    ?.assistants.find(({ name }) => name === at.assistant)
    ?.environments.find(({ name }) => name === at.environment);
}

type Sides = ServedEnvironment['sides'];

function sameReleases(a: Sides, b: Sides): boolean {
  return a.length === b.length && a.every((side, at) => side.release === b[at]!.release);
}

function changesBetween(
  at: Place,
  before: LoadedEnvironment | undefined,
  after: LoadedEnvironment,
): readonly LoadedRelease[] {
  const known = new Set(before?.sides.map(({ release }) => release));
  return after.sides
    .map(({ release }, index) => ({ digest: release, passages: after.passages[index]!, ...at }))
    .filter(({ digest }) => !known.has(digest));
}
