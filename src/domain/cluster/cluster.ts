export { nodeGoneMs, roles, type Role } from './role.ts';
export { readSnapshot, type ServedEnvironment, type ServedTenant, type Snapshot } from './snapshot.ts';
