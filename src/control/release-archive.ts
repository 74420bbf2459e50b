import { LRUCache } from 'lru-cache';
import type { TenantId } from '#access';
import { openKnowledgeIndex, type KnowledgeIndex } from '#knowledge';
import type { Release, ReleaseDigest } from '#release';
import { openRelease, publishRelease, type PublishRooms } from './publish-release.ts';

/** A release with the index over its knowledge, ready to serve. */
export interface PreparedRelease {
  readonly release: Release;
  readonly index: KnowledgeIndex;
}

/** Characters of knowledge and instructions kept ready; an index weighs about five times its text. */
const charactersMax = 32 * 1024 * 1024;

/** Releases in the store, the ones lately used kept ready in memory. One load at a time per release. */
export class ReleaseArchive {
  readonly #rooms: PublishRooms;
  readonly #ready: LRUCache<string, PreparedRelease>;
  readonly #loading = new Map<string, Promise<PreparedRelease | undefined>>();

  constructor(rooms: PublishRooms) {
    this.#rooms = rooms;
    this.#ready = new LRUCache({ maxSize: charactersMax, sizeCalculation: sizeOf });
  }

  /** Stores the release where it is new, and makes it ready. @throws UsherError of the store */
  async publish(tenant: TenantId, release: Release): Promise<PreparedRelease> {
    const key = keyOf(tenant, release.digest);
    const ready = this.#ready.get(key);
    if (ready !== undefined) return ready;
    await publishRelease(this.#rooms, tenant, release);
    return this.#prepare(key, release);
  }

  /** Undefined where this assistant of this tenant has no such release. @throws UsherError of the store */
  async open(tenant: TenantId, assistant: string, digest: ReleaseDigest): Promise<PreparedRelease | undefined> {
    const key = keyOf(tenant, digest);
    const loading = this.#loading.get(key) ?? this.#ready.get(key) ?? this.#load(key, tenant, assistant, digest);
    const prepared = await loading;
    return prepared?.release.spec.name === assistant ? prepared : undefined;
  }

  #load(key: string, tenant: TenantId, assistant: string, digest: ReleaseDigest): Promise<PreparedRelease | undefined> {
    const loading = openRelease(this.#rooms, tenant, assistant, digest)
      .then((release) => (release === undefined ? undefined : this.#prepare(key, release)))
      .finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return loading;
  }

  async #prepare(key: string, release: Release): Promise<PreparedRelease> {
    const prepared = { release, index: await openKnowledgeIndex(release.passages) };
    this.#ready.set(key, prepared);
    return prepared;
  }
}

function keyOf(tenant: TenantId, digest: ReleaseDigest): string {
  return `${tenant}\0${digest}`;
}

function sizeOf({ release }: PreparedRelease): number {
  return release.passages.reduce(
    (sum, passage) => sum + passage.text.length + passage.title.length,
    release.instructions.length + JSON.stringify(release.tools ?? []).length + 1000,
  );
}
