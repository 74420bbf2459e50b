import { sql } from 'kysely';
import type { Reach, TenantId } from '#access';
import type { ReleaseDigest } from '#release';
import type { Sealed } from '#vault';
import { systemQuery, type Session } from '../query.ts';
import type { TenantStore } from '../store.ts';

/* Releases are the tenant's own: no person's data, so every caller within the tenant reaches them. */

const insertRelease = systemQuery<
  { tenant: TenantId; digest: ReleaseDigest; assistant: string; content: Sealed; nowMs: number },
  never
>(({ db, arg }) =>
  db
    .insertInto('releases')
    .values({
      tenant: arg('tenant'),
      digest: arg('digest'),
      assistant: arg('assistant'),
      content: arg('content'),
      created_at_ms: arg('nowMs'),
    })
    .onConflict((conflict) => conflict.columns(['tenant', 'digest']).doNothing()),
);

export const putRelease = async (
  session: Session,
  { tenant }: Reach,
  ...[digest, assistant, content, nowMs]: Parameters<TenantStore['putRelease']>
): Promise<void> => {
  await insertRelease(session, { tenant, digest, assistant, content, nowMs });
};

const selectRelease = systemQuery<{ tenant: TenantId; digest: ReleaseDigest }, { assistant: string; content: Sealed }>(
  ({ db, arg }) =>
    db
      .selectFrom('releases')
      .select(['assistant', 'content'])
      .where('tenant', '=', arg('tenant'))
      .where('digest', '=', arg('digest')),
);

export const release = async (
  session: Session,
  { tenant }: Reach,
  digest: ReleaseDigest,
): ReturnType<TenantStore['release']> => (await selectRelease(session, { tenant, digest }))[0];

const selectByPrefix = systemQuery<
  { tenant: TenantId; assistant: string; prefix: string; length: number },
  { digest: ReleaseDigest }
>(({ db, arg }) =>
  db
    .selectFrom('releases')
    .select('digest')
    .where('tenant', '=', arg('tenant'))
    .where('assistant', '=', arg('assistant'))
    .where(sql`substr(digest, 1, ${arg('length')})`, '=', arg('prefix'))
    .orderBy('digest')
    .limit(sql.lit(2)),
);

export const releasesByPrefix = async (
  session: Session,
  { tenant }: Reach,
  ...[assistant, prefix]: Parameters<TenantStore['releasesByPrefix']>
): Promise<readonly ReleaseDigest[]> => {
  const rows = await selectByPrefix(session, { tenant, assistant, prefix, length: prefix.length });
  return rows.map((row) => row.digest);
};
