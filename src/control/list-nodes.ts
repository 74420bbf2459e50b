import { nodeGoneMs } from '#cluster';
import type { NodeRow, SystemStore } from '#store';

/** A node as its operator sees it. */
export interface NodeView extends Omit<NodeRow, 'state'> {
  /** `gone`: not heard of for ten seconds. */
  readonly state: NodeRow['state'] | 'gone';
}

export interface ClusterView {
  /** Of the newest snapshot; 0 before the first. A node that applied less lags behind, or cannot apply it. */
  readonly newestRevision: number;
  readonly nodes: readonly NodeView[];
}

/** Every node that was heard of within the last hour, oldest first. @throws UsherError of the store */
export async function listNodes(system: Pick<SystemStore, 'nodes' | 'snapshotRevision'>): Promise<ClusterView> {
  // Nodes first: none has applied a revision that is not yet there.
  const nodes = await system.nodes();
  const newestRevision = await system.snapshotRevision();
  return { newestRevision, nodes: nodes.map((node) => Object.assign({}, node, { state: stateOf(node) })) };
}

function stateOf({ state, silentMs }: NodeRow): NodeView['state'] {
  return silentMs >= nodeGoneMs ? 'gone' : state;
}
