import { createSecretKey, randomBytes, type KeyObject } from 'node:crypto';
import { UsherError } from '#base';
import type { TenantId } from '#access';
import { associate, openEnvelope, sealEnvelope, type Binding } from './envelope.ts';
import type { RootKey } from './root-key.ts';
import type { RootKeys } from './root-keys.ts';
import type { KeyStore, TenantKeyRow, WrappedKey } from './port.ts';

/** A key of the hierarchy in the open, with the version that what it seals carries. */
export interface OpenKey {
  readonly key: KeyObject;
  readonly version: number;
}

/** The tenant's key, made at first use under the current root; of several first uses one wins. */
export async function loadTenantKey(keys: KeyStore, roots: RootKeys, tenant: TenantId): Promise<OpenKey> {
  const standing = await keys.tenantKey(tenant);
  if (standing !== undefined) return openTenantKey(roots, { tenant, key: standing });
  // A rotation may have run since the roots were read; a key under a dropped root would be lost.
  await roots.refresh();
  const made = wrapTenantKey(roots.current(), tenant, createSecretKey(randomBytes(32)), 1);
  return openTenantKey(roots, { tenant, key: await keys.putTenantKey(tenant, made) });
}

/**
 * Opens every tenant key: a database whose content these roots cannot open must not be served.
 * @throws UsherError `config_invalid` for an unknown root, `data_damaged` for a key that does not open.
 */
export async function verifyTenantKeys(keys: KeyStore, roots: RootKeys): Promise<void> {
  for (const row of await keys.allTenantKeys()) await openTenantKey(roots, row);
}

/**
 * Wraps every tenant key under the current root, in one transaction; keys that already are stay.
 * Repeats until none is left, since a node may add a tenant meanwhile. Answers how many it wrapped.
 */
export async function rewrapTenantKeys(keys: KeyStore, roots: RootKeys): Promise<number> {
  const root = roots.current();
  let wrapped = 0;
  for (;;) {
    const rows = await keys.allTenantKeys();
    const stale = rows.filter((row) => row.key.wrappedBy !== root.id);
    if (stale.length === 0) return wrapped;
    const replaced = await Promise.all(
      stale.map(async (row) => {
        const { key, version } = await openTenantKey(roots, row);
        return { tenant: row.tenant, key: wrapTenantKey(root, row.tenant, key, version) };
      }),
    );
    const fresh = rows.filter((row) => row.key.wrappedBy === root.id);
    await keys.replaceTenantKeys([...fresh, ...replaced]);
    wrapped += replaced.length;
  }
}

function wrapTenantKey(root: RootKey, tenant: TenantId, key: KeyObject, version: number): WrappedKey {
  const wrapped = sealEnvelope(tenantBinding(root, tenant, version), key.export());
  return { version, wrappedBy: root.id, wrapped };
}

async function openTenantKey(roots: RootKeys, { tenant, key }: TenantKeyRow): Promise<OpenKey> {
  if (roots.find(key.wrappedBy) === undefined) await roots.refresh();
  const root = roots.find(key.wrappedBy);
  if (root === undefined) throw rootMissing(tenant, key.wrappedBy, roots.current().id);
  const raw = openEnvelope(tenantBinding(root, tenant, key.version), key.wrapped);
  return { key: createSecretKey(raw), version: key.version };
}

function tenantBinding(root: RootKey, tenant: TenantId, version: number): Binding {
  const associatedData = associate('tenant key', tenant, String(version), root.id);
  return { key: root.key, keyVersion: version, associatedData };
}

function rootMissing(tenant: TenantId, missing: string, current: string): UsherError {
  return new UsherError(
    'config_invalid',
    `The content of tenant "${tenant}" is sealed under root key ${missing}, but the root key given is ${current}. ` +
      `Start with the root key that this database was used with; while rotating, give both, the new one first.`,
  );
}
