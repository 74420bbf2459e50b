import { UsherError } from '#base';
import type { Principal, TenantId } from '#access';

/** Origins whose browsers may call with a credential of that tenant. */
export type TenantOrigins = ReadonlyMap<TenantId, readonly string[]>;

export interface Cors {
  /** Headers that let a page of that origin read any answer, a refusal too; none where it is nobody's. */
  readable(origin: string): readonly string[];
  /** What a preflight is told beside them. */
  preflight(origin: string): readonly string[];
  /** @throws UsherError `forbidden` where a foreign page uses a tenant's credential, or changes something without one */
  check(request: {
    readonly origin: string;
    readonly ownOrigin: string;
    /** Undefined on public routes. */
    readonly principal: Principal | undefined;
    readonly changes: boolean;
  }): void;
}

const exposed = 'x-request-id, retry-after, retry-after-ms, x-should-retry';

/**
 * A preflight carries no credential, so it is answered for the origins of all tenants together;
 * the request itself is then held to those of its own tenant. Never `*`, never with cookies.
 * `current` is asked each time; another map than the last one is taken over as a whole.
 */
export function createCors(current: () => TenantOrigins): Cors {
  let known = current();
  let cors = corsOver(known);
  const now = (): Cors => {
    const origins = current();
    if (origins !== known) {
      known = origins;
      cors = corsOver(origins);
    }
    return cors;
  };
  return {
    readable: (origin) => now().readable(origin),
    preflight: (origin) => now().preflight(origin),
    check: (request) => now().check(request),
  };
}

function corsOver(tenantOrigins: TenantOrigins): Cors {
  const byTenant = new Map([...tenantOrigins].map(([tenant, origins]) => [tenant, new Set(origins)]));
  const union = new Set([...tenantOrigins.values()].flat());
  const readable = new Map([...union].map((origin) => [origin, readableHeaders(origin)]));
  return {
    readable: (origin) => readable.get(origin) ?? varyOnly,
    preflight: (origin) => (union.has(origin) ? preflightHeaders : []),
    check({ origin, ownOrigin, principal, changes }) {
      if (origin === ownOrigin) return;
      const allowed = principal === undefined ? union : byTenant.get(principal.tenant);
      if (allowed?.has(origin) || (principal === undefined && !changes)) return;
      throw new UsherError('forbidden', "Pages of this origin may not call here; add it to the tenant's corsOrigins.");
    },
  };
}

const varyOnly: readonly string[] = ['vary', 'origin'];

function readableHeaders(origin: string): readonly string[] {
  return ['access-control-allow-origin', origin, 'access-control-expose-headers', exposed, ...varyOnly];
}

/** Named one by one, since `*` would not cover `authorization`; `x-stainless-*` are sent by OpenAI's own clients. */
const allowedHeaders = [
  'authorization',
  'api-key',
  'content-type',
  'last-event-id',
  'openai-beta',
  'openai-organization',
  'openai-project',
  'idempotency-key',
  'x-user-authorization',
  ...['arch', 'async', 'helper-method', 'lang', 'os', 'package-version', 'poll-helper', 'retry-count'].map(
    (name) => `x-stainless-${name}`,
  ),
  ...['runtime', 'runtime-version', 'timeout', 'custom-poll-interval'].map((name) => `x-stainless-${name}`),
].join(', ');

const preflightHeaders: readonly string[] = Object.entries({
  'access-control-allow-methods': 'GET, POST, DELETE',
  'access-control-allow-headers': allowedHeaders,
  'access-control-max-age': '600',
}).flat();
