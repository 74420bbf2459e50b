import { newId, type Clock } from '#base';
import type { TenantId } from '#access';
import type { SystemStore } from '#store';
import { rewrapTenantKeys, verifyTenantKeys, type KeyStore, type RootKeys } from '#vault';

/** What is durably done when it is told. `added` and `dropped` only where the keys are in a file. */
export type RotationStep = 'verified' | 'added' | 'rewrapped' | 'dropped';

export interface RotationReport {
  /** The root that wraps every tenant key now. */
  readonly current: string;
  /** How many tenant keys were wrapped anew. */
  readonly rewrapped: number;
  /** Roots that open nothing any more; where keys are given, the owner takes them out. */
  readonly retired: readonly string[];
  /** Whether this finished an earlier rotation that was cut off. */
  readonly resumed: boolean;
}

export interface RotationParts {
  readonly keys: KeyStore;
  readonly roots: RootKeys;
  readonly onStep?: (step: RotationStep) => void;
}

/**
 * Wraps every tenant key under a new root key; content and subject keys stay as they are. With the
 * data folder's file: a new root is put in front of the old one, the tenant keys are wrapped anew
 * in one transaction, and the old root is dropped when no tenant key needs it. After a crash at any
 * step the file opens all tenant keys, and the next call finishes the work. With given keys the
 * first one is taken as the new one.
 *
 * Nothing is written unless every tenant key opens.
 * @throws UsherError `conflict` while another process rotates; `data_damaged`, `config_invalid` as
 * `verifyTenantKeys` does.
 */
export async function rotateRoot(parts: RotationParts): Promise<RotationReport> {
  const lock = parts.roots.keyring?.lock();
  try {
    return await rotateLocked(parts);
  } finally {
    lock?.[Symbol.dispose]();
  }
}

async function rotateLocked({ keys, roots, onStep }: RotationParts): Promise<RotationReport> {
  const { keyring } = roots;
  await roots.refresh();
  await verifyTenantKeys(keys, roots);
  onStep?.('verified');

  const resumed = keyring !== undefined && roots.older().length > 0;
  if (keyring !== undefined && !resumed) {
    await keyring.add();
    onStep?.('added');
  }
  const retired = roots.older().map((root) => root.id);
  const rewrapped = await rewrapTenantKeys(keys, roots);
  onStep?.('rewrapped');

  if (keyring !== undefined) {
    await keyring.dropOlder();
    onStep?.('dropped');
  }
  return { current: roots.current().id, rewrapped, retired, resumed };
}

/** The root key is of all tenants: each finds in its audit trail that it changed. */
export async function recordRotation(
  { system, clock, tenants }: { system: Pick<SystemStore, 'putAudit'>; clock: Clock; tenants: readonly TenantId[] },
  { current }: Pick<RotationReport, 'current'>,
  actor: string,
): Promise<void> {
  const atMs = clock.wallMs();
  const record = { atMs, actor, action: 'root.rotate', target: current };
  for (const tenant of tenants) await system.putAudit({ id: newId('audit', atMs), tenant, ...record });
}
