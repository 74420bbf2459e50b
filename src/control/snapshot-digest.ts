import { hash } from 'node:crypto';
import type { Snapshot } from '#cluster';
import { canonicalJson } from './canonical-json.ts';

/** Equal for snapshots that serve the same. Since when does not count: nodes that read the same folders agree. */
export function snapshotDigest({ tenants }: Snapshot): string {
  const timeless = tenants.map((tenant) => ({
    ...tenant,
    assistants: tenant.assistants.map(({ name, environments }) => ({
      name,
      environments: environments.map((environment) => ({ ...environment, loadedAtMs: 0 })),
    })),
  }));
  return `sha256:${hash('sha256', canonicalJson({ tenants: timeless }))}`;
}
