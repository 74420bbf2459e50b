import { sql } from 'kysely';
import type { Id } from '#base';
import type { Role } from '#cluster';
import { systemQuery, type Session } from '../query.ts';
import type { NodeReport, NodeRow } from '../store.ts';

type ReportArgs = Omit<NodeReport, 'roles'> & { readonly roles: string };

/** One statement, since every node runs it all the time. What a process is by birth stays as first told. */
const upsert = systemQuery<ReportArgs, never>(({ db, arg, nowMs }) =>
  db
    .insertInto('nodes')
    .values({
      id: arg('id'),
      roles: arg('roles'),
      version: arg('version'),
      host: arg('host'),
      pid: arg('pid'),
      state: arg('state'),
      applied_revision: arg('appliedRevision'),
      running_turns: arg('runningTurns'),
      problem: arg('problem'),
      started_at_ms: arg('startedAtMs'),
      heartbeat_at_ms: nowMs,
    })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet({
        state: sql.ref('excluded.state'),
        applied_revision: sql.ref('excluded.applied_revision'),
        running_turns: sql.ref('excluded.running_turns'),
        problem: sql.ref('excluded.problem'),
        heartbeat_at_ms: sql.ref('excluded.heartbeat_at_ms'),
      }),
    ),
);

export const putNode = async (session: Session, report: NodeReport): Promise<void> => {
  await upsert(session, { ...report, roles: report.roles.join(',') });
};

const select = systemQuery<object, Omit<NodeRow, 'roles'> & { readonly roles: string }>(({ db, nowMs }) =>
  db
    .selectFrom('nodes')
    .select([
      'id',
      'roles',
      'version',
      'host',
      'pid',
      'state',
      'applied_revision as appliedRevision',
      'running_turns as runningTurns',
      'problem',
      'started_at_ms as startedAtMs',
      sql<number>`${nowMs} - heartbeat_at_ms`.as('silentMs'),
    ])
    .orderBy('started_at_ms')
    .orderBy('id'),
);

export const nodes = async (session: Session): Promise<readonly NodeRow[]> =>
  (await select(session, {})).map((row) => Object.assign({}, row, { roles: row.roles.split(',') as Role[] }));

const deleteNode = systemQuery<{ id: Id<'node'> }, never>(({ db, arg }) =>
  db.deleteFrom('nodes').where('id', '=', arg('id')),
);

export const removeNode = async (session: Session, id: Id<'node'>): Promise<void> => {
  await deleteNode(session, { id });
};

const deleteSilent = systemQuery<{ silentMs: number }, { id: Id<'node'> }>(({ db, arg, nowMs }) =>
  db
    .deleteFrom('nodes')
    .where(sql<boolean>`heartbeat_at_ms <= ${nowMs} - ${arg('silentMs')}`)
    .returning('id'),
);

export const removeSilentNodes = async (session: Session, silentMs: number): Promise<number> =>
  (await deleteSilent(session, { silentMs })).length;
