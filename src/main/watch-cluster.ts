import { openOutage, listNodes, type SnapshotFollower } from '#control';
import type { Store } from '#store';
import type { Telemetry } from '#telemetry';

const observeEveryMs = 5000;
const sweepEveryMs = 60_000;
/** Rows of nodes that are gone stay for a while, so that an operator sees them. */
const forgetAfterMs = 3_600_000;
/** Half of what a change may take to reach every node, less what applying it takes. */
const followEveryMs = 250;

export interface ClusterWatch {
  readonly store: Store;
  readonly telemetry: Telemetry;
  readonly follower: SnapshotFollower;
  readonly appliedRevision: () => number;
  /** Where only this process can publish, there is nothing to look for. */
  readonly alone: boolean;
  /** Removes the rows of nodes that are long gone. */
  readonly sweeps: boolean;
}

/** Follows what others publish, and tells `/metrics` of them, until disposed. */
export function watchCluster({ store, telemetry, follower, appliedRevision, alone, sweeps }: ClusterWatch): Disposable {
  const watching = new DisposableStack();
  if (!alone) watching.use(follower.follow(followEveryMs));
  const every = (periodMs: number, operation: string, run: () => Promise<unknown>): void => {
    const outage = openOutage(telemetry, operation);
    const timer = setInterval(() => void outage.during(run), periodMs);
    watching.defer(() => clearInterval(timer));
  };
  const observe = async (): Promise<void> => {
    const { nodes, newestRevision } = await listNodes(store.system);
    const counts = { serving: 0, draining: 0, gone: 0 };
    for (const { state } of nodes) counts[state] += 1;
    telemetry.clusterSeen({ nodes: counts, appliedRevision: appliedRevision(), newestRevision });
  };
  void openOutage(telemetry, 'nodes').during(observe);
  every(observeEveryMs, 'nodes', observe);
  if (sweeps) every(sweepEveryMs, 'removeSilentNodes', () => store.system.removeSilentNodes(forgetAfterMs));
  return watching;
}
