import { sql } from 'kysely';
import { systemQuery, type Session } from '../query.ts';

type ProbeCounter = { name: 'probe' };

const bump = systemQuery<ProbeCounter, { value: number }>(({ db, arg }) =>
  db
    .updateTable('counters')
    .set({ value: sql`value + 1` })
    .where('name', '=', arg('name'))
    .returning('value'),
);

/** Writes a number that only grows and answers it. */
export const probeWrite = async (session: Session): Promise<number> =>
  (await bump(session, { name: 'probe' }))[0]?.value ?? 0;

const select = systemQuery<ProbeCounter, { value: number }>(({ db, arg }) =>
  db.selectFrom('counters').select('value').where('name', '=', arg('name')),
);

export const probeRead = async (session: Session): Promise<number> =>
  (await select(session, { name: 'probe' }))[0]?.value ?? 0;
