import { sql } from 'kysely';
import type { Id } from '#base';
import type { Scope, TenantId } from '#access';
import { systemQuery, type Session } from '../query.ts';
import type { ApiKeyRow, AuditRecord, SystemStore } from '../store.ts';
import { insertAudit } from './audit.ts';

const columns = [
  'id',
  'tenant',
  'name',
  'prefix',
  'hash',
  'scopes',
  'created_at_ms as createdAtMs',
  'expires_at_ms as expiresAtMs',
  'revoked_at_ms as revokedAtMs',
] as const;

type FlatKey = Omit<ApiKeyRow, 'scopes'> & { readonly scopes: string };

function toRow({ scopes, ...rest }: FlatKey): ApiKeyRow {
  return { ...rest, scopes: (scopes === '' ? [] : scopes.split(',')) as Scope[] };
}

const selectByHash = systemQuery<{ hash: Uint8Array }, FlatKey>(({ db, arg }) =>
  db.selectFrom('api_keys').select(columns).where('hash', '=', arg('hash')),
);

export const apiKeyByHash = async (session: Session, hash: Uint8Array): Promise<ApiKeyRow | undefined> => {
  const [flat] = await selectByHash(session, { hash });
  return flat && toRow(flat);
};

const selectOfTenant = systemQuery<{ tenant: TenantId }, FlatKey>(({ db, arg }) =>
  db.selectFrom('api_keys').select(columns).where('tenant', '=', arg('tenant')).orderBy('created_at_ms').orderBy('id'),
);

/** Oldest first. */
export const apiKeys = async (session: Session, tenant: TenantId): Promise<readonly ApiKeyRow[]> =>
  (await selectOfTenant(session, { tenant })).map(toRow);

const insertKey = systemQuery<FlatKey, never>(({ db, arg }) =>
  db.insertInto('api_keys').values({
    tenant: arg('tenant'),
    id: arg('id'),
    name: arg('name'),
    prefix: arg('prefix'),
    hash: arg('hash'),
    scopes: arg('scopes'),
    created_at_ms: arg('createdAtMs'),
    expires_at_ms: arg('expiresAtMs'),
    revoked_at_ms: arg('revokedAtMs'),
  }),
);

type AccessCounter = { name: 'access' };

const bumpRevision = systemQuery<AccessCounter, never>(({ db, arg }) =>
  db
    .updateTable('counters')
    .set({ value: sql`value + 1` })
    .where('name', '=', arg('name')),
);

export const putApiKey = async (session: Session, row: ApiKeyRow, audit: AuditRecord): Promise<void> => {
  await insertKey(session, { ...row, scopes: row.scopes.join(',') });
  await insertAudit(session, audit);
  await bumpRevision(session, { name: 'access' });
};

const revokeValid = systemQuery<{ tenant: TenantId; id: Id<'key'>; atMs: number }, { id: string }>(({ db, arg }) =>
  db
    .updateTable('api_keys')
    .set({ revoked_at_ms: arg('atMs') })
    .where('tenant', '=', arg('tenant'))
    .where('id', '=', arg('id'))
    .where('revoked_at_ms', 'is', null)
    .where((eb) => eb.or([eb('expires_at_ms', 'is', null), eb('expires_at_ms', '>', arg('atMs'))]))
    .returning('id'),
);

export const revokeApiKey = async (
  session: Session,
  ...[tenant, id, atMs, audit]: Parameters<SystemStore['revokeApiKey']>
): Promise<boolean> => {
  if ((await revokeValid(session, { tenant, id, atMs })).length === 0) return false;
  await insertAudit(session, audit);
  await bumpRevision(session, { name: 'access' });
  return true;
};

const selectRevision = systemQuery<AccessCounter, { value: number }>(({ db, arg }) =>
  db.selectFrom('counters').select('value').where('name', '=', arg('name')),
);

export const accessRevision = async (session: Session): Promise<number> =>
  (await selectRevision(session, { name: 'access' }))[0]?.value ?? 0;
