import { nearestWord, UsherError } from '#base';
import type { TenantId } from '#access';
import { readSnapshot, type ServedEnvironment, type ServedTenant } from '#cluster';
import { assign, type Side } from '#experiment';
import type { ListedAssistant, Passage, ReleaseDigest, ReleaseDirectory, ServedRelease, Target } from '#release';
import type { SnapshotRow } from '#store';
import type { Telemetry } from '#telemetry';
import { lackOf, type NodeMeans } from './node-means.ts';
import type { PublishRooms } from './publish-release.ts';
import type { PreparedRelease, ReleaseArchive } from './release-archive.ts';

export interface DirectoryRooms extends PublishRooms {
  readonly telemetry: Pick<Telemetry, 'releaseLoaded'>;
}

/** An environment of an assistant of a tenant. */
interface Place {
  readonly tenant: TenantId;
  readonly assistant: string;
  readonly environment: string;
}

interface Environment {
  readonly salt: string;
  readonly sides: readonly Side<ServedRelease>[];
  readonly loadedAtMs: number;
}

type Assistants = ReadonlyMap<string, ReadonlyMap<string, Environment>>;

interface TenantView {
  readonly limits: ServedTenant['limits'];
  readonly corsOrigins: readonly string[];
  readonly assistants: Assistants;
}

/** One snapshot with everything that serving it needs. */
interface View {
  readonly revision: number;
  readonly tenants: ReadonlyMap<TenantId, TenantView>;
  readonly corsOrigins: ReadonlyMap<TenantId, readonly string[]>;
}

export type Application =
  | { readonly result: 'applied' }
  /** `reason` is a sentence with the mend. What served before serves on. */
  | { readonly result: 'refused'; readonly reason: string };

/**
 * The directory of the snapshot that this node has applied, opened from the store. Readers see one
 * whole snapshot or the next.
 */
export class SnapshotDirectory implements ReleaseDirectory {
  readonly #rooms: DirectoryRooms;
  readonly #archive: ReleaseArchive;
  readonly #means: NodeMeans | undefined;
  #view: View = { revision: 0, tenants: new Map(), corsOrigins: new Map() };

  /** @param means what this node has; a release that asks for more is refused. Undefined: it runs no turns, so any will do */
  constructor(rooms: DirectoryRooms, archive: ReleaseArchive, means: NodeMeans | undefined) {
    this.#rooms = rooms;
    this.#archive = archive;
    this.#means = means;
  }

  /** Of the snapshot that serves; 0 before the first. */
  get revision(): number {
    return this.#view.revision;
  }

  /** Origins whose browsers may call, by tenant; another map with each snapshot. */
  get corsOrigins(): ReadonlyMap<TenantId, readonly string[]> {
    return this.#view.corsOrigins;
  }

  has(tenant: TenantId): boolean {
    return this.#view.tenants.has(tenant);
  }

  tenants(): readonly TenantId[] {
    return [...this.#view.tenants.keys()];
  }

  limitsOf(tenant: TenantId): ServedTenant['limits'] | undefined {
    return this.#view.tenants.get(tenant)?.limits;
  }

  /**
   * Makes everything of the snapshot ready, then serves it in one step. Not to be called again before
   * it has settled.
   *
   * @throws UsherError of the store where it is away; what it holds that cannot be served is `refused`
   */
  async apply({ revision, content }: SnapshotRow): Promise<Application> {
    const snapshot = readSnapshot(content);
    if (snapshot === undefined) {
      return refused(`Snapshot ${revision} has a form that this Usher does not know. Update this node.`);
    }
    const tenants = new Map<TenantId, TenantView>();
    for (const { id, limits, corsOrigins, assistants } of snapshot.tenants) {
      const opened = await this.#openAssistants(id, assistants);
      if (!opened.ok) return refused(opened.reason);
      tenants.set(id, { limits, corsOrigins, assistants: opened.assistants });
    }
    const corsOrigins = new Map([...tenants].map(([id, view]) => [id, view.corsOrigins]));
    const before = this.#view;
    this.#view = Object.freeze({ revision, tenants, corsOrigins });
    this.#report(before, this.#view);
    return { result: 'applied' };
  }

  async #openAssistants(
    tenant: TenantId,
    assistants: ServedTenant['assistants'],
  ): Promise<{ readonly ok: true; readonly assistants: Assistants } | { readonly ok: false; readonly reason: string }> {
    const opened = new Map<string, Map<string, Environment>>();
    for (const { name, environments } of assistants) {
      const own = new Map<string, Environment>();
      for (const environment of environments) {
        const at = { tenant, assistant: name, environment: environment.name };
        const made = await this.#openEnvironment(at, environment);
        if (typeof made === 'string') return { ok: false, reason: made };
        own.set(environment.name, made);
      }
      if (own.size > 0) opened.set(name, own);
    }
    return { ok: true, assistants: opened };
  }

  /** The environment ready to serve, or why it cannot be. */
  async #openEnvironment(at: Place, { salt, sides, loadedAtMs }: ServedEnvironment): Promise<Environment | string> {
    const before = this.#environment(at);
    if (before !== undefined && sameSplit(before, { salt, sides, loadedAtMs })) return before;
    const opened: Side<ServedRelease>[] = [];
    for (const { release, share } of sides) {
      const kept = before?.sides.find(({ value }) => value.release.digest === release)?.value;
      const value = kept ?? (await this.#openRelease(at, release));
      if (typeof value === 'string') return value;
      opened.push({ share, value });
    }
    return { salt, sides: opened, loadedAtMs };
  }

  async #openRelease(at: Place, digest: ReleaseDigest): Promise<ServedRelease | string> {
    const prepared = await this.#archive.open(at.tenant, at.assistant, digest).catch(unreadable);
    if (typeof prepared === 'string') return prepared;
    if (prepared === undefined) {
      return `The release ${digest} of "${at.assistant}" is not in the store. Publish it again from its folder.`;
    }
    const lack = this.#means && lackOf(this.#means, at.tenant, prepared.release);
    return lack ?? served(at.assistant, at.environment, prepared);
  }

  /** Tells every release that serves where another did before. */
  #report(before: View, after: View): void {
    for (const [tenant, { assistants }] of after.tenants) {
      for (const [assistant, environments] of assistants) {
        for (const [environment, { sides }] of environments) {
          const old = before.tenants.get(tenant)?.assistants.get(assistant)?.get(environment);
          const known = new Set(old?.sides.map(({ value }) => value.release.digest));
          for (const { release } of sides.map(({ value }) => value)) {
            if (known.has(release.digest)) continue;
            const { digest, passages } = release;
            this.#rooms.telemetry.releaseLoaded({ assistant, environment, release: digest, passages: passages.length });
          }
        }
      }
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
    for (const { sides } of this.#view.tenants.get(tenant)?.assistants.get(assistant)?.values() ?? []) {
      const side = sides.find(({ value }) => value.release.digest === digest);
      if (side !== undefined) return Object.freeze({ ...side.value, environment });
    }
    const prepared = await this.#archive.open(tenant, assistant, digest);
    if (prepared === undefined) throw noSuchRelease(assistant, digest);
    return served(assistant, environment, prepared);
  }

  list(tenant: TenantId): readonly ListedAssistant[] {
    return [...(this.#view.tenants.get(tenant)?.assistants ?? [])].map(([assistant, environments]) => {
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

  #environment({ tenant, assistant, environment }: Place): Environment | undefined {
    return this.#view.tenants.get(tenant)?.assistants.get(assistant)?.get(environment);
  }

  #assistant(tenant: TenantId, name: string): ReadonlyMap<string, Environment> {
    const assistants = this.#view.tenants.get(tenant)?.assistants;
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

function served(assistant: string, environment: string, { release, search }: PreparedRelease): ServedRelease {
  return Object.freeze({
    assistant,
    environment,
    release,
    topics: documentTitles(release.passages),
    search,
  });
}

/** A passage is titled by its document, then by its section: `Architecture › Rooms`. */
function documentTitles(passages: readonly Passage[]): readonly string[] {
  return [...new Set(passages.map(({ title }) => title.split(' › ')[0]!))];
}

function refused(reason: string): Application {
  return { result: 'refused', reason };
}

/** Content that cannot be opened is a reason to stay; a store that is away is not. */
function unreadable(error: unknown): string {
  if (error instanceof UsherError && error.code === 'data_damaged') return error.message;
  throw error;
}

function sameSplit(before: Environment, after: Omit<ServedEnvironment, 'name'>): boolean {
  return (
    before.salt === after.salt &&
    before.loadedAtMs === after.loadedAtMs &&
    before.sides.length === after.sides.length &&
    before.sides.every(
      ({ share, value }, at) => share === after.sides[at]!.share && value.release.digest === after.sides[at]!.release,
    )
  );
}

/** What a bare name means: `production`, or the first environment declared where there is none of that name. */
function defaultEnvironment(environments: ReadonlyMap<string, Environment>): string {
  if (environments.has('production')) return 'production';
  const [first] = environments.keys();
  return first!;
}

function noSuchAssistant(name: string, known: readonly string[]): UsherError {
  const message = `There is no assistant ${quoted(name)}. ${suggestion(name, known, 'Assistants here')}`;
  return new UsherError('model_not_found', message, { param: 'model' });
}

function noSuchVersion(assistant: string, version: string, known: readonly string[]): UsherError {
  const hint = suggestion(version, known, 'Environments');
  const message = `The assistant "${assistant}" has no environment ${quoted(version)}, and no release is named so. ${hint}`;
  return new UsherError('model_not_found', message, { param: 'model' });
}

function noSuchRelease(assistant: string, digest: string): UsherError {
  const message = `The assistant "${assistant}" has no release ${digest}. Leave the digest out to talk with the current one.`;
  return new UsherError('model_not_found', message, { param: 'model' });
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
