import { z } from 'zod';
import { newId, UsherError, type Clock, type Id } from '#base';
import { apiKeyPrefix, hashApiKey, makeApiKey, scopes, type ApiKey, type Scope, type TenantId } from '#access';
import type { ApiKeyRow, AuditRecord, SystemStore } from '#store';

/** What a person may see of a key: never the key, never its hash. */
export type ApiKeyView = Omit<ApiKeyRow, 'hash'>;

export interface NewApiKey {
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Epoch milliseconds; null: until it is revoked. */
  readonly expiresAtMs: number | null;
}

/** API keys of a tenant. `actor` names who did it in the audit record: `cli`, `key:key_...`. */
export interface KeyManagement {
  /** Answers the key itself, this once. @throws UsherError `invalid_request` */
  create(
    tenant: TenantId,
    wish: NewApiKey,
    actor: string,
  ): Promise<{ readonly key: ApiKey; readonly view: ApiKeyView }>;
  /** Newest first, revoked and expired ones too. */
  list(tenant: TenantId): Promise<readonly ApiKeyView[]>;
  /** Holds on every node for requests that come after it settles. @throws UsherError `not_found` */
  revoke(tenant: TenantId, id: Id<'key'>, actor: string): Promise<void>;
}

export interface KeyManagementParts {
  readonly system: Pick<SystemStore, 'putApiKey' | 'apiKeys' | 'revokeApiKey'>;
  readonly clock: Clock;
}

const nameSchema = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text));
const scopesSchema = z.array(z.enum(scopes)).min(1);

export function manageKeys({ system, clock }: KeyManagementParts): KeyManagement {
  const auditOf = (tenant: TenantId, action: string, id: Id<'key'>, actor: string): AuditRecord => {
    const atMs = clock.wallMs();
    return { id: newId('audit', atMs), tenant, atMs, actor, action, target: id };
  };
  return {
    create: async (tenant, wish, actor) => {
      const nowMs = clock.wallMs();
      const key = makeApiKey();
      const view: ApiKeyView = {
        id: newId('key', nowMs),
        tenant,
        prefix: apiKeyPrefix(key),
        ...checkWish(wish, nowMs),
        createdAtMs: nowMs,
        revokedAtMs: null,
      };
      await system.putApiKey({ ...view, hash: hashApiKey(key) }, auditOf(tenant, 'key.create', view.id, actor));
      return { key, view };
    },
    list: async (tenant) => {
      const rows = await system.apiKeys(tenant);
      return rows.map(viewOf).toSorted((one, other) => other.createdAtMs - one.createdAtMs);
    },
    revoke: async (tenant, id, actor) => {
      const revoked = await system.revokeApiKey(tenant, id, clock.wallMs(), auditOf(tenant, 'key.revoke', id, actor));
      if (!revoked) {
        throw new UsherError('not_found', 'There is no valid API key with this id. See them with: usher keys list');
      }
    },
  };
}

function checkWish(wish: NewApiKey, nowMs: number): NewApiKey {
  const name = nameSchema.safeParse(wish.name);
  if (!name.success) throw invalid('name', 'A key needs a name of 1 to 100 characters, without control characters.');
  const wanted = scopesSchema.safeParse(wish.scopes);
  if (!wanted.success) throw invalid('scopes', `A key needs at least one of the scopes ${scopes.join(', ')}.`);
  const { expiresAtMs } = wish;
  if (expiresAtMs !== null && !(Number.isSafeInteger(expiresAtMs) && expiresAtMs > nowMs)) {
    throw invalid('expiresAtMs', 'The expiry of a key must lie in the future.');
  }
  return { name: name.data, scopes: [...new Set(wanted.data)], expiresAtMs };
}

function viewOf(row: ApiKeyRow): ApiKeyView {
  const { id, tenant, name, prefix, scopes, createdAtMs, expiresAtMs, revokedAtMs } = row;
  return { id, tenant, name, prefix, scopes, createdAtMs, expiresAtMs, revokedAtMs };
}

function invalid(param: string, message: string): UsherError {
  return new UsherError('invalid_request', message, { param });
}
