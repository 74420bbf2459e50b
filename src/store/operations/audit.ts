import type { TenantId } from '#access';
import { systemQuery, type Session } from '../query.ts';
import type { AuditRecord } from '../store.ts';

const insert = systemQuery<AuditRecord, never>(({ db, arg }) =>
  db.insertInto('audit').values({
    tenant: arg('tenant'),
    id: arg('id'),
    at_ms: arg('atMs'),
    actor: arg('actor'),
    action: arg('action'),
    target: arg('target'),
  }),
);

export const insertAudit = async (session: Session, record: AuditRecord): Promise<void> => {
  await insert(session, record);
};

const selectNewest = systemQuery<{ tenant: TenantId; most: number }, AuditRecord>(({ db, arg }) =>
  db
    .selectFrom('audit')
    .select(['id', 'tenant', 'at_ms as atMs', 'actor', 'action', 'target'])
    .where('tenant', '=', arg('tenant'))
    .orderBy('at_ms', 'desc')
    .orderBy('row', 'desc')
    .limit(arg('most')),
);

/** Newest first. */
export const audit = (session: Session, tenant: TenantId, most: number): Promise<readonly AuditRecord[]> =>
  selectNewest(session, { tenant, most });
