import { UsherError, type Clock } from '#base';
import type { TenantId } from '#access';
import { completeContext, type Release, type ReleaseDigest } from '#release';
import type { Store } from '#store';
import type { Place, Vault } from '#vault';
import { canonicalJson } from './canonical-json.ts';

export interface PublishRooms {
  readonly store: Store;
  readonly vault: Vault;
  readonly clock: Clock;
}

/** Form of the stored content; a reader refuses what it does not know. */
const contentVersion = 1;

/**
 * Stores a release under the tenant's own key, so that conversations pinned to it go on after the
 * folder has changed. Settles after the commit; a digest that is there stays as it is.
 *
 * @throws UsherError of the store and the vault
 */
export async function publishRelease(rooms: PublishRooms, tenant: TenantId, release: Release): Promise<void> {
  const vault = await rooms.vault.subject(tenant, null);
  const { digest, ...content } = release;
  const sealed = vault.seal(placeOf(digest), canonicalJson({ version: contentVersion, ...content }));
  await rooms.store
    .reach({ tenant, subject: null })
    .putRelease(digest, release.spec.name, sealed, rooms.clock.wallMs());
}

/**
 * A release back from the store; undefined where this assistant of this tenant has none of that digest.
 *
 * @throws UsherError `data_damaged` when its content was changed or is of a later Usher, and those of
 * the store
 */
export async function openRelease(
  rooms: PublishRooms,
  tenant: TenantId,
  assistant: string,
  digest: ReleaseDigest,
): Promise<Release | undefined> {
  const row = await rooms.store.reach({ tenant, subject: null }).release(digest);
  if (row === undefined || row.assistant !== assistant) return undefined;
  const vault = await rooms.vault.subject(tenant, null);
  const content = JSON.parse(vault.openText(placeOf(digest), row.content)) as StoredContent;
  if (content.version !== contentVersion) {
    throw new UsherError(
      'data_damaged',
      'A stored release has a form that this Usher does not know. Update this node.',
    );
  }
  const { instructions, passages, tools } = content;
  const spec = { ...content.spec, context: completeContext(content.spec.context) };
  return { digest, spec, instructions, passages, ...(tools === undefined ? {} : { tools }) };
}

interface StoredContent extends Omit<Release, 'digest'> {
  readonly version: number;
}

function placeOf(digest: ReleaseDigest): Place {
  return { table: 'releases', row: digest };
}
