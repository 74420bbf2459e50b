import type { Reach, TenantId } from '#access';
import { insertQuery, rowsQuery, type Session } from '../query.ts';
import type { PassageVectorRow, TenantStore } from '../store.ts';

/* As releases, vectors of their passages are the tenant's own: every caller within it reaches them. */

interface StoredVector extends PassageVectorRow {
  readonly tenant: TenantId;
  readonly model: string;
  readonly createdAtMs: number;
}

const insertVectors = insertQuery<StoredVector>((db, rows) =>
  db
    .insertInto('passage_vectors')
    .values(
      rows.map((row) => ({
        tenant: row.tenant,
        model: row.model,
        text_hash: row.textHash,
        vector: row.vector,
        created_at_ms: row.createdAtMs,
      })),
    )
    .onConflict((conflict) =>
      conflict.columns(['tenant', 'model', 'text_hash']).doUpdateSet((row) => ({ vector: row.ref('excluded.vector') })),
    ),
);

export const putPassageVectors = async (
  session: Session,
  { tenant }: Reach,
  ...[model, rows, nowMs]: Parameters<TenantStore['putPassageVectors']>
): Promise<void> => {
  await insertVectors(
    session,
    rows.map(({ textHash, vector }) => ({ tenant, model, textHash, vector, createdAtMs: nowMs })),
  );
};

const selectVectors = rowsQuery<{ tenant: TenantId; model: string; textHash: Uint8Array }, PassageVectorRow>(
  (db, rows) =>
    db
      .selectFrom('passage_vectors')
      .select(['text_hash as textHash', 'vector'])
      .where('tenant', '=', rows[0]!.tenant)
      .where('model', '=', rows[0]!.model)
      .where(
        'text_hash',
        'in',
        rows.map(({ textHash }) => textHash),
      ),
);

export const passageVectors = (
  session: Session,
  { tenant }: Reach,
  ...[model, textHashes]: Parameters<TenantStore['passageVectors']>
): ReturnType<TenantStore['passageVectors']> =>
  selectVectors(
    session,
    textHashes.map((textHash) => ({ tenant, model, textHash })),
  );
