import { sql } from 'kysely';
import { systemQuery, Undo, type Session } from '../query.ts';
import type { NewSnapshot, PublishedSnapshot, SnapshotRow } from '../store.ts';

/** How many stay: enough to see what served before, and by whom. */
const kept = 20;

/** Holds the counter to the end of the transaction, so that publishers queue here. */
const takeRevision = systemQuery<{ name: 'snapshot' }, { revision: number }>(({ db, arg }) =>
  db
    .updateTable('counters')
    .set({ value: sql`value + 1` })
    .where('name', '=', arg('name'))
    .returning('value as revision'),
);

const selectNewest = systemQuery<object, SnapshotRow>(({ db }) =>
  db
    .selectFrom('snapshots')
    .select(['revision', 'digest', 'content', 'published_by as publishedBy', 'published_at_ms as publishedAtMs'])
    .orderBy('revision', 'desc')
    .limit(sql.lit(1)),
);

export const snapshot = async (session: Session): Promise<SnapshotRow | undefined> =>
  (await selectNewest(session, {}))[0];

const insert = systemQuery<NewSnapshot & { revision: number }, never>(({ db, arg, nowMs }) =>
  db.insertInto('snapshots').values({
    revision: arg('revision'),
    digest: arg('digest'),
    content: arg('content'),
    published_by: arg('publishedBy'),
    published_at_ms: nowMs,
  }),
);

const deleteOlder = systemQuery<{ last: number }, never>(({ db, arg }) =>
  db.deleteFrom('snapshots').where('revision', '<=', arg('last')),
);

export const publishSnapshot = async (session: Session, published: NewSnapshot): Promise<PublishedSnapshot> => {
  const [taken] = await takeRevision(session, { name: 'snapshot' });
  const { revision } = taken!;
  const standing = await snapshot(session);
  if (standing?.digest === published.digest) {
    const unchanged: PublishedSnapshot = { revision: standing.revision, changed: false, replaced: null };
    throw new Undo(unchanged);
  }
  await insert(session, { ...published, revision });
  await deleteOlder(session, { last: revision - kept });
  return { revision, changed: true, replaced: standing?.publishedBy ?? null };
};

const selectRevision = systemQuery<{ name: 'snapshot' }, { value: number }>(({ db, arg }) =>
  db.selectFrom('counters').select('value').where('name', '=', arg('name')),
);

export const snapshotRevision = async (session: Session): Promise<number> =>
  (await selectRevision(session, { name: 'snapshot' }))[0]?.value ?? 0;
