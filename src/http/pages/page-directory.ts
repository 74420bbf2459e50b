import { UsherError } from '#base';
import type { TenantId } from '#access';
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
  /** @throws UsherError `not_found`; `not_ready` before there is anything to serve */
  open(address: string): Promise<PagedAssistant>;
  /** Those that anyone may open, in the order of the configuration. @throws UsherError `not_ready` */
  listPublic(): Promise<readonly PagedAssistant[]>;
}

/**
 * Which assistant an address means. A page is opened before anybody has signed in, so the address
 * alone says the tenant: the plain name is that of the first tenant which has it, and a later
 * tenant's is `<name>~<tenant>`.
 */
export function openPageDirectory(releases: ReleaseDirectory): PageDirectory {
  const open = async (address: string): Promise<PagedAssistant> => {
    const place = placesOf(releases).get(address);
    if (place === undefined) throw new UsherError('not_found', 'There is no assistant at this address.');
    const target = await releases.resolve(place.tenant, place.assistant);
    // Words and rules of the page, not an answer: whoever opens it, they are those of one release.
    const { release } = await releases.choose(target, 'page');
    return { address, tenant: place.tenant, spec: release.spec, digest: release.digest };
  };
  return {
    open,
    listPublic: async () => {
      const all = await Promise.all([...placesOf(releases).keys()].map(open));
      return all.filter(({ spec }) => spec.page.access === 'public');
    },
  };
}

type Places = ReadonlyMap<string, { readonly tenant: TenantId; readonly assistant: string }>;

/** What each address means now. */
function placesOf(releases: ReleaseDirectory): Places {
  const places = new Map<string, { tenant: TenantId; assistant: string }>();
  const tenants = releases.tenants();
  if (tenants.length === 0) throw new UsherError('not_ready', 'This node does not know yet what to serve.');
  for (const tenant of tenants) {
    for (const { assistant } of releases.list(tenant)) {
      places.set(places.has(assistant) ? `${assistant}~${tenant}` : assistant, { tenant, assistant });
    }
  }
  return places;
}
