import type { Branded } from '#base';
import type { SubjectId, TenantId } from '#access';

/** Ciphertext that only the vault makes: what a content column takes. */
export type Sealed = Branded<Uint8Array, 'Sealed'>;

/** Where a sealed value lives; bound into it as associated data, so it opens nowhere else. */
export interface Place {
  readonly table: string;
  /** Primary key of the row, with the column where a row has several sealed ones. */
  readonly row: string;
}

/** Keys of one subject, in memory. Sealing and opening are synchronous and local. */
export interface SubjectVault {
  seal(place: Place, content: Uint8Array | string): Sealed;
  /** @throws UsherError `data_damaged` when the value was changed, moved, or has a short tag. */
  open(place: Place, sealed: Uint8Array): Buffer;
  openText(place: Place, sealed: Uint8Array): string;
}

/** What the vault keeps wrapped keys in; the store implements it. */
export interface KeyStore {
  tenantKey(tenant: TenantId): Promise<WrappedKey | undefined>;
  /** First writer wins; answers the key that stands. */
  putTenantKey(tenant: TenantId, key: WrappedKey): Promise<WrappedKey>;
  subjectKey(tenant: TenantId, subject: SubjectId): Promise<WrappedKey | undefined>;
  putSubjectKey(tenant: TenantId, subject: SubjectId, key: WrappedKey): Promise<WrappedKey>;
  allTenantKeys(): Promise<readonly TenantKeyRow[]>;
  /** Replaces every tenant key in one transaction: root rotation. */
  replaceTenantKeys(keys: readonly TenantKeyRow[]): Promise<void>;
}

export interface TenantKeyRow {
  readonly tenant: TenantId;
  readonly key: WrappedKey;
}

/** A key encrypted under the key above it; `wrappedBy` names that one (root id, or tenant key version). */
export interface WrappedKey {
  readonly version: number;
  readonly wrappedBy: string;
  readonly wrapped: Uint8Array;
}

export interface Vault {
  /** Keys of one subject; `null` is the tenant's own content (releases). Cached, bounded. */
  subject(tenant: TenantId, subject: SubjectId | null): Promise<SubjectVault>;
  /** A 32-byte key of this tenant for another purpose (HKDF of the tenant key), e.g. `user-token`. */
  derive(tenant: TenantId, purpose: string): Promise<Uint8Array>;
}
