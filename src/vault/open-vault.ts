import { createSecretKey, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { UsherError } from '#base';
import type { SubjectId, TenantId } from '#access';
import { deriveKey } from './derive-key.ts';
import { associate, openEnvelope, sealEnvelope, type Binding } from './envelope.ts';
import type { RootKeys } from './root-keys.ts';
import { loadTenantKey, type OpenKey } from './tenant-keys.ts';
import type { KeyStore, Place, Sealed, SubjectVault, Vault, WrappedKey } from './port.ts';

/** About 1 KB each. Beyond these, keys are read from the store again. */
const tenantsMax = 1_000;
const subjectsMax = 10_000;

/**
 * The key hierarchy: root -> tenant -> subject. A tenant's key itself encrypts nothing; what wraps
 * its subjects' keys, seals its own content and serves other purposes is derived from it, each apart.
 */
export function openVault({ keys, roots }: { readonly keys: KeyStore; readonly roots: RootKeys }): Vault {
  const tenants = new LRUCache<string, Promise<OpenKey>>({ max: tenantsMax });
  const subjects = new LRUCache<string, Promise<SubjectVault>>({ max: subjectsMax });

  const tenantKey = (tenant: TenantId) => remember(tenants, tenant, () => loadTenantKey(keys, roots, tenant));

  async function loadSubject(tenant: TenantId, subject: SubjectId | null): Promise<SubjectVault> {
    const above = await tenantKey(tenant);
    if (subject === null) {
      const key = createSecretKey(deriveKey(above.key, associate('content of the tenant')));
      return subjectVault({ key, version: above.version }, associate('tenant content', tenant));
    }
    const key = await loadSubjectKey(keys, above, tenant, subject);
    return subjectVault(key, associate('subject content', tenant, subject));
  }

  return {
    // JSON keeps the two names apart whatever characters they hold, and null apart from "null".
    subject: (tenant, subject) =>
      remember(subjects, JSON.stringify([tenant, subject]), () => loadSubject(tenant, subject)),
    derive: async (tenant, purpose) => deriveKey((await tenantKey(tenant)).key, associate('purpose', purpose)),
  };
}

/** Made at first use; of several first uses, on any node, the first one stored stands. */
async function loadSubjectKey(keys: KeyStore, above: OpenKey, tenant: TenantId, subject: SubjectId): Promise<OpenKey> {
  const wrappedBy = String(above.version);
  const wrappingKey = createSecretKey(deriveKey(above.key, associate('wraps subject keys')));
  const binding = (version: number): Binding => ({
    key: wrappingKey,
    keyVersion: version,
    associatedData: associate('subject key', tenant, subject, String(version), wrappedBy),
  });
  const makeKey = (): Promise<WrappedKey> =>
    keys.putSubjectKey(tenant, subject, {
      version: 1,
      wrappedBy,
      wrapped: sealEnvelope(binding(1), randomBytes(32)),
    });
  const standing = (await keys.subjectKey(tenant, subject)) ?? (await makeKey());
  if (standing.wrappedBy !== wrappedBy) throw tenantKeyChanged(tenant);
  const raw = openEnvelope(binding(standing.version), standing.wrapped);
  return { key: createSecretKey(raw), version: standing.version };
}

function subjectVault(sealing: OpenKey, owner: Buffer): SubjectVault {
  const bind = ({ table, row }: Place): Binding => bindingOf(sealing, owner, table, row);
  return {
    seal: (place, content) =>
      sealEnvelope(bind(place), typeof content === 'string' ? Buffer.from(content) : content) as Uint8Array as Sealed,
    open: (place, sealed) => openEnvelope(bind(place), sealed),
    openText: (place, sealed) => openEnvelope(bind(place), sealed).toString('utf8'),
  };
}

function bindingOf({ key, version }: OpenKey, owner: Buffer, table: string, row: string): Binding {
  const associatedData = Buffer.concat([owner, associate(table, row, String(version))]);
  return { key, keyVersion: version, associatedData };
}

/** The cached promise, or a new one; one that fails is forgotten, so that the next use tries again. */
function remember<T>(cache: LRUCache<string, Promise<T>>, name: string, make: () => Promise<T>): Promise<T> {
  const standing = cache.get(name);
  if (standing !== undefined) return standing;
  const made = make();
  cache.set(name, made);
  made.catch(() => {
    if (cache.peek(name) === made) cache.delete(name);
  });
  return made;
}

function tenantKeyChanged(tenant: TenantId): UsherError {
  return new UsherError(
    'data_damaged',
    `A subject key of tenant "${tenant}" belongs to another tenant key than the one stored. ` +
      `Restore the database from a backup: its tables are not of the same moment.`,
  );
}
