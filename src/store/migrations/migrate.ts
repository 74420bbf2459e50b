import { UsherError } from '#base';
import { first } from './0001-first.ts';
import { durableTurns } from './0002-durable-turns.ts';
import { cluster } from './0003-cluster.ts';
import { handovers } from './0004-handovers.ts';
import { knowledgeVectors } from './0005-knowledge-vectors.ts';
import { itemsById } from './0006-items-by-id.ts';
import { completions } from './0007-completions.ts';
import { userAuthorisation } from './0008-user-authorisation.ts';
import { answeredRequests } from './0009-answered-requests.ts';
import { titledBy } from './0010-titled-by.ts';
import { queueLanes } from './0011-queue-lanes.ts';
import { handoverLookups } from './0012-handover-lookups.ts';
import type { Dialect } from '../query.ts';
import type { ColumnTypes, Migration } from './migration.ts';

/** Runs SQL text in the transaction that the caller opened; both databases in the same shape. */
export type RunSql = (text: string) => Promise<readonly unknown[]>;

/** Forward only, in order of `number`; a published one is never changed. */
export const migrations: readonly Migration[] = [
  first,
  durableTurns,
  cluster,
  handovers,
  knowledgeVectors,
  itemsById,
  completions,
  userAuthorisation,
  answeredRequests,
  titledBy,
  queueLanes,
  handoverLookups,
];

const columnTypes: Readonly<Record<Dialect, ColumnTypes>> = {
  sqlite: {
    text: 'text',
    integer: 'integer',
    bytes: 'blob',
    rowId: 'integer primary key',
    table: (name, columns) => `create table ${name} (${columns}) strict`,
  },
  postgres: {
    // Collation C: ids sort by bytes, as in SQLite, and compare cheaply.
    text: 'text collate "C"',
    integer: 'bigint',
    bytes: 'bytea',
    rowId: 'bigint generated always as identity primary key',
    table: (name, columns) => `create table ${name} (${columns})`,
  },
};

/**
 * Brings the schema up to `known`, within a transaction of the caller that admits one migrator at a
 * time. @throws UsherError `config_invalid` when the database needs a newer program.
 */
export async function migrate(dialect: Dialect, run: RunSql, known = migrations): Promise<void> {
  const types = columnTypes[dialect];
  await run(
    `create table if not exists schema_migrations (number ${types.integer} primary key, name ${types.text} not null,
       readable_from ${types.integer} not null)`,
  );
  const applied = (await run('select number, readable_from from schema_migrations')) as readonly {
    readonly number: number;
    readonly readable_from: number;
  }[];
  const newestKnown = Math.max(0, ...known.map((migration) => migration.number));
  const needed = Math.max(0, ...applied.map((row) => row.readable_from));
  if (needed > newestKnown) {
    throw new UsherError(
      'config_invalid',
      `The database has schema ${needed}, but this program knows only up to ${newestKnown}. ` +
        'Run the newer version of Usher that wrote it, or restore the backup made before that upgrade.',
    );
  }
  const done = new Set(applied.map((row) => row.number));
  for (const migration of known) {
    if (done.has(migration.number)) continue;
    for (const statement of migration.statements(types)) await run(statement);
    await run(
      `insert into schema_migrations (number, name, readable_from)
         values (${migration.number}, '${migration.name}', ${migration.readableFrom})`,
    );
  }
}
