import type { Id } from '#base';
import { nodeGoneMs, readSnapshot } from '#cluster';
import type { SystemStore } from '#store';
import type { Telemetry } from '#telemetry';
import { canonicalJson } from './canonical-json.ts';
import type { SnapshotFollower } from './follow-snapshots.ts';
import type { FolderLoader, Reload } from './load-folders.ts';
import { snapshotDigest } from './snapshot-digest.ts';

export interface FolderPublisherParts {
  readonly system: Pick<SystemStore, 'snapshot' | 'publishSnapshot' | 'nodes'>;
  readonly loader: FolderLoader;
  readonly follower: SnapshotFollower;
  /** The node that publishes. */
  readonly owner: Id<'node'>;
  readonly telemetry: Pick<Telemetry, 'foldersDiffer'>;
}

/**
 * Publishes what the folders of this node hold, to this node and to all others. Where several nodes
 * publish, the newest wins; each publishes when its own folders have changed, so that they do not
 * take turns for ever.
 */
export class FolderPublisher {
  readonly #parts: FolderPublisherParts;
  #published: string | undefined;
  #toldRevision = 0;
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(parts: FolderPublisherParts) {
    this.#parts = parts;
  }

  folders(): readonly string[] {
    return this.#parts.loader.folders();
  }

  /** Reads the folders and stores their releases, and publishes nothing. @throws UsherError of the store and the vault */
  async load(): Promise<Reload> {
    const standing = await this.#parts.system.snapshot();
    return this.#parts.loader.load(standing && readSnapshot(standing.content));
  }

  /** What was loaded, in one step; settles when it serves here. @throws UsherError of the store */
  async publish(): Promise<void> {
    const { system, loader, follower, owner } = this.#parts;
    const snapshot = loader.snapshot();
    const digest = snapshotDigest(snapshot);
    if (digest !== this.#published) {
      const { revision, replaced } = await system.publishSnapshot({
        digest,
        content: canonicalJson(snapshot),
        publishedBy: owner,
      });
      this.#published = digest;
      if (replaced !== null && replaced !== owner && (await this.#publishes(replaced))) {
        this.#tell(revision, replaced);
      }
    }
    await follower.catchUp();
  }

  /**
   * Reads the folders again and publishes what changed. One reload at a time.
   * @throws UsherError of the store and the vault; what served serves on
   */
  reload(): Promise<Reload> {
    const reload = this.#reloading.then(async () => {
      const loaded = await this.load();
      await this.publish();
      return loaded;
    });
    // The next one in line does not care how this one ended; its own caller is told.
    this.#reloading = reload.catch(() => undefined);
    return reload;
  }

  /** Says so where another node's folders serve in place of this node's; undefined where these serve. */
  difference(): string | undefined {
    const { newest } = this.#parts.follower;
    if (newest === undefined || this.#published === undefined || newest.digest === this.#published) return undefined;
    this.#tell(newest.revision, newest.publishedBy);
    return `This node's folders differ from what serves, which ${newest.publishedBy} published. Give all control nodes the same folders.`;
  }

  /** Whether that node is there and may publish again. */
  async #publishes(id: Id<'node'>): Promise<boolean> {
    const nodes = await this.#parts.system.nodes();
    return nodes.some((node) => node.id === id && node.silentMs < nodeGoneMs && node.state === 'serving');
  }

  #tell(revision: number, other: Id<'node'>): void {
    if (this.#toldRevision === revision) return;
    this.#toldRevision = revision;
    this.#parts.telemetry.foldersDiffer({ revision, other });
  }
}
