export type { RootKey } from './root-key.ts';
export { openRootKeys, type RootKeyring, type RootKeys } from './root-keys.ts';
export { openVault } from './open-vault.ts';
export { rewrapTenantKeys, verifyTenantKeys } from './tenant-keys.ts';
export type { KeyStore, Place, Sealed, SubjectVault, TenantKeyRow, Vault, WrappedKey } from './port.ts';
