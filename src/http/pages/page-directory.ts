import { UsherError } from '#base';
import type { TenantId } from '#access';
import type { TenantConfig } from '#config';
import type { AssistantSpec, ReleaseDigest, ReleaseDirectory } from '#release';

/** An assistant that has a page, as its release of this moment says. */
export interface PagedAssistant {
  /** What stands for it in `/chat/<address>`. */
  readonly address: string;
  readonly tenant: TenantId;
  readonly spec: AssistantSpec;
  readonly digest: ReleaseDigest;
}

export interface PageDirectory {
  /** @throws UsherError `not_found` */
  open(address: string): Promise<PagedAssistant>;
  /** Those that anyone may open, in the order of the configuration. */
  listPublic(): Promise<readonly PagedAssistant[]>;
}

/**
 * Which assistant an address means. A page is opened before anybody has signed in, so the address
 * alone says the tenant: the plain name is that of the first tenant which has it, and a later
 * tenant's is `<name>~<tenant>`.
 */
export function openPageDirectory(releases: ReleaseDirectory, tenants: readonly TenantConfig[]): PageDirectory {
  const places = new Map<string, { readonly tenant: TenantId; readonly assistant: string }>();
  for (const { id, assistants } of tenants) {
    for (const { name } of assistants) {
      places.set(places.has(name) ? `${name}~${id}` : name, { tenant: id, assistant: name });
    }
  }
  const open = async (address: string): Promise<PagedAssistant> => {
    const place = places.get(address);
    if (place === undefined) throw new UsherError('not_found', 'There is no assistant at this address.');
    const target = await releases.resolve(place.tenant, place.assistant);
    // Words and rules of the page, not an answer: whoever opens it, they are those of one release.
    const { release } = await releases.choose(target, 'page');
    return { address, tenant: place.tenant, spec: release.spec, digest: release.digest };
  };
  return {
    open,
    listPublic: async () => {
      const all = await Promise.all([...places.keys()].map(open));
      return all.filter(({ spec }) => spec.page.access === 'public');
    },
  };
}
