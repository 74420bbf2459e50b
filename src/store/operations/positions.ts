import { sql } from 'kysely';
import type { Id } from '#base';
import type { Reach, SubjectId } from '#access';
import { contentQuery, type Session } from '../query.ts';

const advancePositions = contentQuery<
  { id: Id<'conversation'>; count: number; nowMs: number },
  { itemsMade: number; subject: SubjectId }
>(({ db, arg, within }) =>
  db
    .updateTable('conversations')
    .set({ items_made: sql`items_made + ${arg('count')}`, updated_at_ms: arg('nowMs') })
    .where(within('conversations'))
    .where('id', '=', arg('id'))
    .returning(['items_made as itemsMade', 'subject']),
);

/**
 * Gives out `count` positions of a conversation and answers the first, undefined where there is no
 * such conversation. Holds the row to the end of the transaction, so that writers queue here.
 */
export async function takePositions(
  session: Session,
  reach: Reach,
  args: { readonly id: Id<'conversation'>; readonly count: number; readonly nowMs: number },
): Promise<{ readonly first: number; readonly subject: SubjectId } | undefined> {
  const [row] = await advancePositions(session, reach, args);
  return row && { first: row.itemsMade - args.count + 1, subject: row.subject };
}
