import { UsherError } from '#base';
import type { SubjectId, TenantId } from '#access';
import type { WrappedKey } from '#vault';
import { systemQuery, type Session } from '../query.ts';

type TenantKeyArgs = WrappedKey & { readonly tenant: TenantId };
type SubjectKeyArgs = TenantKeyArgs & { readonly subject: SubjectId };

const columns = ['version', 'wrapped_by as wrappedBy', 'wrapped'] as const;

const selectTenantKey = systemQuery<{ tenant: TenantId }, WrappedKey>(({ db, arg }) =>
  db.selectFrom('tenant_keys').select(columns).where('tenant', '=', arg('tenant')),
);

export const tenantKey = async (session: Session, tenant: TenantId): Promise<WrappedKey | undefined> =>
  (await selectTenantKey(session, { tenant }))[0];

const insertTenantKey = systemQuery<TenantKeyArgs, never>(({ db, arg }) =>
  db
    .insertInto('tenant_keys')
    .values({
      tenant: arg('tenant'),
      version: arg('version'),
      wrapped_by: arg('wrappedBy'),
      wrapped: arg('wrapped'),
    })
    .onConflict((conflict) => conflict.column('tenant').doNothing()),
);

export const putTenantKey = async (session: Session, tenant: TenantId, key: WrappedKey): Promise<WrappedKey> => {
  await insertTenantKey(session, { ...key, tenant });
  return standing(await tenantKey(session, tenant));
};

const selectSubjectKey = systemQuery<{ tenant: TenantId; subject: SubjectId }, WrappedKey>(({ db, arg }) =>
  db
    .selectFrom('subject_keys')
    .select(columns)
    .where('tenant', '=', arg('tenant'))
    .where('subject', '=', arg('subject')),
);

export const subjectKey = async (
  session: Session,
  tenant: TenantId,
  subject: SubjectId,
): Promise<WrappedKey | undefined> => (await selectSubjectKey(session, { tenant, subject }))[0];

const insertSubjectKey = systemQuery<SubjectKeyArgs, never>(({ db, arg }) =>
  db
    .insertInto('subject_keys')
    .values({
      tenant: arg('tenant'),
      subject: arg('subject'),
      version: arg('version'),
      wrapped_by: arg('wrappedBy'),
      wrapped: arg('wrapped'),
    })
    .onConflict((conflict) => conflict.columns(['tenant', 'subject']).doNothing()),
);

export const putSubjectKey = async (
  session: Session,
  tenant: TenantId,
  subject: SubjectId,
  key: WrappedKey,
): Promise<WrappedKey> => {
  await insertSubjectKey(session, { ...key, tenant, subject });
  return standing(await subjectKey(session, tenant, subject));
};

function standing(key: WrappedKey | undefined): WrappedKey {
  if (key === undefined) throw new UsherError('conflict', 'The key was deleted while it was made. Try again.');
  return key;
}

const selectTenantKeys = systemQuery<object, WrappedKey & { tenant: TenantId }>(({ db }) =>
  db
    .selectFrom('tenant_keys')
    .select(['tenant', ...columns])
    .orderBy('tenant'),
);

type TenantWithKey = { readonly tenant: TenantId; readonly key: WrappedKey };

export const allTenantKeys = async (session: Session): Promise<readonly TenantWithKey[]> =>
  (await selectTenantKeys(session, {})).map(({ tenant, ...key }) => ({ tenant, key }));

const replaceTenantKey = systemQuery<TenantKeyArgs, { tenant: TenantId }>(({ db, arg }) =>
  db
    .updateTable('tenant_keys')
    .set({ version: arg('version'), wrapped_by: arg('wrappedBy'), wrapped: arg('wrapped') })
    .where('tenant', '=', arg('tenant'))
    .returning('tenant'),
);

/** Refuses a list that is not exactly the tenants at hand: a key left out could never be opened again. */
export const replaceTenantKeys = async (session: Session, keys: readonly TenantWithKey[]): Promise<void> => {
  let replaced = 0;
  for (const { tenant, key } of keys) {
    replaced += (await replaceTenantKey(session, { ...key, tenant })).length;
  }
  const standingCount = (await selectTenantKeys(session, {})).length;
  if (replaced !== keys.length || replaced !== standingCount) {
    throw new UsherError('conflict', 'A tenant was added or removed while the keys were replaced. Run it again.');
  }
};

const selectAnyTenantKey = systemQuery<object, { tenant: TenantId }>(({ db }) =>
  db
    .selectFrom('tenant_keys')
    .select('tenant')
    .limit((eb) => eb.lit(1)),
);

export const hasTenantKeys = async (session: Session): Promise<boolean> =>
  (await selectAnyTenantKey(session, {})).length > 0;
