import { formatProblem, UsherError, type Clock, type Id } from '#base';
import type { EmbeddingBackend } from '#backend';
import type { Config } from '#config';
import {
  FolderLoader,
  FolderPublisher,
  KnowledgeVectors,
  ReleaseArchive,
  SnapshotDirectory,
  SnapshotFollower,
  type NodeMeans,
  type RejectedRelease,
} from '#control';
import type { Store } from '#store';
import type { Telemetry } from '#telemetry';
import type { Vault } from '#vault';

/** What this node serves, kept at the newest snapshot. */
export interface Served extends AsyncDisposable {
  readonly directory: SnapshotDirectory;
  readonly follower: SnapshotFollower;
  /** Undefined without the role `control`: such a node reads no folders. */
  readonly publisher: FolderPublisher | undefined;
}

interface ServedParts {
  readonly store: Store;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly owner: Id<'node'>;
  readonly embeddings: ReadonlyMap<string, EmbeddingBackend>;
}

/**
 * Publishes the folders where this node has the role `control`, and applies the newest snapshot. Other
 * nodes may find none yet: they serve once there is one.
 *
 * @throws UsherError with what is wrong in the folders; then nothing was published
 */
export async function openServed(parts: ServedParts, config: Config): Promise<Served> {
  const { store, clock, telemetry, owner } = parts;
  await using opening = new AsyncDisposableStack();
  const vectors = opening.adopt(new KnowledgeVectors(parts, parts.embeddings), (opened) => opened.close());
  const archive = new ReleaseArchive(parts, vectors);
  const means = meansOf(config);
  const directory = new SnapshotDirectory(parts, archive, callsModels(config) ? means : undefined);
  const follower = new SnapshotFollower({ system: store.system, directory, clock, telemetry });
  if (!config.roles.includes('control')) {
    await follower.catchUp();
    return served(opening, { directory, follower, publisher: undefined });
  }
  const loader = opening.use(new FolderLoader(parts, archive, config.tenants, folderMeansOf(config)));
  const publisher = new FolderPublisher({ system: store.system, loader, follower, owner, telemetry });
  const { rejected } = await publisher.load();
  refuseRejected(rejected);
  await publisher.publish();
  return served(opening, { directory, follower, publisher });
}

function served(opening: AsyncDisposableStack, parts: Omit<Served, keyof AsyncDisposable>): Served {
  const opened = opening.move();
  return { ...parts, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

/** Turns are run by workers, and those whose content is not kept by the gateways themselves. */
export function callsModels({ roles }: Config): boolean {
  return roles.includes('worker') || roles.includes('gateway');
}

/**
 * What folders are checked against. A control node that declares no pool cannot know what the others
 * have, who check for themselves.
 */
export function folderMeansOf(config: Config): NodeMeans | undefined {
  return config.pools.length === 0 ? undefined : meansOf(config);
}

function meansOf({ pools, embeddings, tools }: Config): NodeMeans {
  return {
    pools: pools.map(({ name }) => name),
    embeddings: embeddings.map(({ name }) => name),
    credentialsOf: (tenant) =>
      tools.credentials.filter(({ tenants }) => tenants.includes(tenant)).map(({ name }) => name),
  };
}

/** An assistant that does not hold must not be missed silently: the first start stops with what is wrong. */
function refuseRejected(rejected: readonly RejectedRelease[]): void {
  if (rejected.length === 0) return;
  const told = rejected.flatMap(({ problems }) => problems).map((problem) => formatProblem(problem));
  throw new UsherError('config_invalid', `${told.join('\n')}\nMend the assistant folder and start again.`);
}
