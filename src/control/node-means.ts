import type { TenantId } from '#access';
import type { Release } from '#release';

/** What a node's own `usher.yaml` gives it to serve assistants with. */
export interface NodeMeans {
  /** Names of its pools. */
  readonly pools: readonly string[];
  /** Names of its embedding models. Without one, a release that asks for it is searched by words alone. */
  readonly embeddings: readonly string[];
  /** Names of the tool credentials that a tenant's assistants may use. */
  readonly credentialsOf: (tenant: TenantId) => readonly string[];
}

/** The names that a tenant's folders are checked against; without means nothing is. */
export function namesFor(
  means: NodeMeans | undefined,
  tenant: TenantId,
): {
  readonly pools?: readonly string[];
  readonly embeddings?: readonly string[];
  readonly credentials?: readonly string[];
} {
  if (means === undefined) return {};
  return { pools: means.pools, embeddings: means.embeddings, credentials: means.credentialsOf(tenant) };
}

/** What a node lacks to serve a release, in a sentence with the mend; undefined where it has all of it. */
export function lackOf(means: NodeMeans, tenant: TenantId, { spec, tools = [] }: Release): string | undefined {
  const lack = (what: string): string =>
    `The assistant "${spec.name}" asks for ${what}, which this node does not have. Declare it in this node's usher.yaml.`;
  const pool = spec.pools.find((wanted) => !means.pools.includes(wanted.pool));
  if (pool !== undefined) return lack(`the pool "${pool.pool}"`);
  const allowed = means.credentialsOf(tenant);
  const tool = tools.find(({ credential }) => credential !== undefined && !allowed.includes(credential));
  return tool && lack(`the tool credential "${tool.credential}"`);
}
