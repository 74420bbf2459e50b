import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Session, Statement } from '../query.ts';

/** Runs statements on one connection and keeps each prepared; their number is bounded by the queries that exist. */
export function sqliteSession(db: DatabaseSync): Session {
  const prepared = new Map<string, StatementSync>();
  return {
    dialect: 'sqlite',
    async rows({ sql }: Statement, values: readonly unknown[]) {
      let statement = prepared.get(sql);
      if (statement === undefined) {
        statement = db.prepare(sql);
        prepared.set(sql, statement);
      }
      return statement.all(...(values as readonly SQLInputValue[]));
    },
  };
}
