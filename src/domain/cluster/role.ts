/**
 * What a node does. `gateway`: answers the data plane and the pages; `worker`: runs turns; `control`:
 * loads assistant folders, publishes snapshots, answers the admin routes. Probes and metrics are everywhere.
 */
export const roles = ['gateway', 'worker', 'control'] as const;
export type Role = (typeof roles)[number];

/** A node that was not heard of for this long, by the database's clock, counts as gone. */
export const nodeGoneMs = 10_000;
