import type { Id } from '#base';
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

const selectAfter = systemQuery<{ tenant: TenantId; most: number; after: Id<'audit'> }, AuditRecord>(({ db, arg }) =>
  db
    .selectFrom('audit')
    .select(['id', 'tenant', 'at_ms as atMs', 'actor', 'action', 'target'])
    .where('tenant', '=', arg('tenant'))
    .where((eb) =>
      eb(
        eb.refTuple('at_ms', 'row'),
        '<',
        // A cursor of another tenant selects no row: the comparison is null and the page empty.
        eb
          .selectFrom('audit')
          .select(['at_ms', 'row'])
          .where('tenant', '=', arg('tenant'))
          .where('id', '=', arg('after'))
          .$asTuple('at_ms', 'row'),
      ),
    )
    .orderBy('at_ms', 'desc')
    .orderBy('row', 'desc')
    .limit(arg('most')),
);

/** Newest first. */
export const audit = (
  session: Session,
  tenant: TenantId,
  most: number,
  after?: Id<'audit'>,
): Promise<readonly AuditRecord[]> =>
  after === undefined ? selectNewest(session, { tenant, most }) : selectAfter(session, { tenant, most, after });
