import { LRUCache } from 'lru-cache';
import type { TenantId } from '#access';
import { openKnowledgeIndex } from '#knowledge';
import type { Release, ReleaseDigest, ScoredPassage } from '#release';
import type { KnowledgeVectors } from './knowledge-vectors.ts';
import { openRelease, publishRelease, type PublishRooms } from './publish-release.ts';

/** A release with the search over its knowledge, ready to serve. */
export interface PreparedRelease {
  readonly release: Release;
  readonly search: (question: string, most: number) => Promise<readonly ScoredPassage[]>;
  /** Of the vectors of its passages. */
  readonly vectorBytes: number;
}

/** Characters of knowledge and instructions kept ready; an index weighs about five times its text. */
const charactersMax = 32 * 1024 * 1024;
const bytesPerCharacter = 5;

/** Releases in the store, the ones lately used kept ready in memory. One load at a time per release. */
export class ReleaseArchive {
  readonly #rooms: PublishRooms;
  readonly #vectors: KnowledgeVectors;
  readonly #ready: LRUCache<string, PreparedRelease>;
  readonly #loading = new Map<string, Promise<PreparedRelease | undefined>>();

  constructor(rooms: PublishRooms, vectors: KnowledgeVectors) {
    this.#rooms = rooms;
    this.#vectors = vectors;
    this.#ready = new LRUCache({ maxSize: charactersMax, sizeCalculation: sizeOf });
  }

  /** Stores the release and its vectors where they are new, and makes it ready. @throws UsherError of the store */
  async publish(tenant: TenantId, release: Release): Promise<PreparedRelease> {
    const key = keyOf(tenant, release.digest);
    const ready = this.#ready.get(key);
    if (ready !== undefined) return ready;
    await publishRelease(this.#rooms, tenant, release);
    await this.#vectors.make(tenant, release);
    return this.#prepare(key, tenant, release);
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
      .then((release) => (release === undefined ? undefined : this.#prepare(key, tenant, release)))
      .finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return loading;
  }

  async #prepare(key: string, tenant: TenantId, release: Release): Promise<PreparedRelease> {
    const index = await openKnowledgeIndex(release.passages);
    const meaning = await this.#vectors.open(tenant, release, index);
    const search: PreparedRelease['search'] =
      meaning === undefined
        ? async (question, most) => index.search(question, most)
        : (question, most) => meaning.search(question, most);
    const prepared = { release, search, vectorBytes: meaning?.bytes ?? 0 };
    this.#ready.set(key, prepared);
    return prepared;
  }
}

function keyOf(tenant: TenantId, digest: ReleaseDigest): string {
  return `${tenant}\0${digest}`;
}

function sizeOf({ release, vectorBytes }: PreparedRelease): number {
  return release.passages.reduce(
    (sum, passage) => sum + passage.text.length + passage.title.length,
    release.instructions.length +
      JSON.stringify(release.tools ?? []).length +
      Math.ceil(vectorBytes / bytesPerCharacter) +
      1000,
  );
}
