import type { Id } from '#base';
import type { Reach, TenantId } from '#access';
import { contentQuery, systemQuery, type Session } from '../query.ts';
import type { FeedbackRow } from '../store.ts';
import { demandOwn } from './own.ts';

const selectTurn = contentQuery<{ turn: Id<'turn'> }, { id: string }>(({ db, arg, within }) =>
  db.selectFrom('turns').select('id').where(within('turns')).where('id', '=', arg('turn')),
);

const upsertFeedback = systemQuery<FeedbackRow & { tenant: TenantId }, never>(({ db, arg }) =>
  db
    .insertInto('feedback')
    .values({
      tenant: arg('tenant'),
      turn: arg('turn'),
      subject: arg('subject'),
      rating: arg('rating'),
      comment: arg('comment'),
      created_at_ms: arg('createdAtMs'),
    })
    .onConflict((conflict) =>
      conflict.columns(['tenant', 'turn']).doUpdateSet((eb) => ({
        subject: eb.ref('excluded.subject'),
        rating: eb.ref('excluded.rating'),
        comment: eb.ref('excluded.comment'),
        created_at_ms: eb.ref('excluded.created_at_ms'),
      })),
    ),
);

export const putFeedback = async (session: Session, reach: Reach, row: FeedbackRow): Promise<boolean> => {
  demandOwn(reach, row.subject);
  if ((await selectTurn(session, reach, { turn: row.turn })).length === 0) return false;
  await upsertFeedback(session, { ...row, tenant: reach.tenant });
  return true;
};

const selectFeedback = contentQuery<{ turn: Id<'turn'> }, FeedbackRow>(({ db, arg, within }) =>
  db
    .selectFrom('feedback')
    .select(['turn', 'subject', 'rating', 'comment', 'created_at_ms as createdAtMs'])
    .where(within('feedback'))
    .where('turn', '=', arg('turn')),
);

export const feedback = async (session: Session, reach: Reach, turn: Id<'turn'>): Promise<FeedbackRow | undefined> =>
  (await selectFeedback(session, reach, { turn }))[0];
