export { checkRootKeys, openRootKeys, type RootKeys } from './root-keys.ts';
export { openVault } from './open-vault.ts';
export { rewrapTenantKeys, verifyTenantKeys } from './tenant-keys.ts';
export type { KeyStore, Place, Sealed, SubjectVault, Vault, WrappedKey } from './port.ts';
