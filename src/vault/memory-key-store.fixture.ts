import type { KeyStore, TenantKeyRow, WrappedKey } from './port.ts';

/** The KeyStore port in memory, for the vault's own tests; counts what was written. */
export function memoryKeyStore(): KeyStore & { readonly written: { tenantKeys: number; subjectKeys: number } } {
  const tenants = new Map<string, TenantKeyRow>();
  const subjects = new Map<string, WrappedKey>();
  const written = { tenantKeys: 0, subjectKeys: 0 };
  const nameOf = (tenant: string, subject: string) => JSON.stringify([tenant, subject]);
  return {
    written,
    tenantKey: async (tenant) => tenants.get(tenant)?.key,
    putTenantKey: async (tenant, key) => {
      const standing = tenants.get(tenant);
      if (standing !== undefined) return standing.key;
      tenants.set(tenant, { tenant, key });
      written.tenantKeys += 1;
      return key;
    },
    subjectKey: async (tenant, subject) => subjects.get(nameOf(tenant, subject)),
    putSubjectKey: async (tenant, subject, key) => {
      const standing = subjects.get(nameOf(tenant, subject));
      if (standing !== undefined) return standing;
      subjects.set(nameOf(tenant, subject), key);
      written.subjectKeys += 1;
      return key;
    },
    allTenantKeys: async () => [...tenants.values()],
    replaceTenantKeys: async (rows) => {
      for (const row of rows) tenants.set(row.tenant, row);
    },
  };
}
