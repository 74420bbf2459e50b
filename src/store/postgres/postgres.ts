import { Client, Pool, types as builtIn, type CustomTypesConfig } from 'pg';
import { UsherError } from '#base';
import { migrate } from '../migrations/migrate.ts';
import { writes, type Call } from '../operations/calls.ts';
import { perform } from '../operations/operations.ts';
import { Undo, type Session } from '../query.ts';
import { storeOver } from '../store-over.ts';
import type { Store } from '../store.ts';
import { asUsherError, endsConnection, isDeadlock } from './errors.ts';

export interface PostgresOptions {
  /** `postgres://user:password@host/database`. */
  readonly url: string;
  /** Connections of this node at most; all nodes together must stay below the server's max_connections. */
  readonly poolMax: number;
}

const connectTimeoutMs = 5000;
/** No operation takes long: past this the server or the way to it is in trouble. */
const statementTimeoutMs = 30_000;
/** Tries of a transaction that PostgreSQL ended for another's sake. */
const triesMax = 4;
/** `USHR`: the advisory lock under which one node at a time migrates. */
const migrationLock = 0x55534852;

const bigintOid = 20;

/** Times and counts fit a JavaScript number; pg answers bigint as text, in case they would not. */
const types: CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === bigintOid && format !== 'binary' ? Number : builtIn.getTypeParser(oid, format)) as never,
};

/**
 * The store of a fleet: PostgreSQL 13 or later. Lost connections are replaced as they are needed,
 * so the store works again as soon as the server does.
 *
 * @throws UsherError `storage_unavailable` where it cannot be reached or used, `config_invalid` where
 * its schema needs a newer Usher.
 */
export async function openPostgresStore({ url, poolMax }: PostgresOptions): Promise<Store> {
  await migrateAlone(url);
  const pool = new Pool({
    connectionString: url,
    max: poolMax,
    types,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs + 1000,
    keepAlive: true,
    application_name: 'usher',
  });
  // An idle connection that breaks leaves the pool by itself; without listeners its error would end the process.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  let closed: Promise<void> | undefined;
  return storeOver(
    (call) => {
      if (closed !== undefined) return Promise.reject(new UsherError('shutting_down', 'The store is closed.'));
      return runWithRetries(pool, call);
    },
    () => (closed ??= pool.end()),
  );
}

/** On a connection without time limits: another node may be migrating for a while. */
async function migrateAlone(url: string): Promise<void> {
  const client = new Client({
    connectionString: url,
    types,
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'usher migration',
  });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('begin');
    await client.query(`select pg_advisory_xact_lock(${migrationLock})`);
    await migrate('postgres', async (text) => (await client.query<object>(text)).rows);
    await client.query('commit');
  } catch (error) {
    throw asUsherError(error);
  } finally {
    await client.end().catch(() => {});
  }
}

async function runWithRetries(pool: Pool, call: Call): Promise<unknown> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await runOnce(pool, call);
    } catch (error) {
      if (error instanceof Undo) return error.answer;
      if (!(error instanceof StatementFailed)) throw error;
      if (!isDeadlock(error.cause) || tries === triesMax) throw asUsherError(error.cause);
    }
  }
}

async function runOnce(pool: Pool, call: Call): Promise<unknown> {
  const client = await pool.connect().catch(rethrow);
  let broken = false;
  const session: Session = {
    dialect: 'postgres',
    async rows({ name, sql: text }, values) {
      try {
        return (await client.query<object>({ name, text, values: values as unknown[] })).rows;
      } catch (error) {
        broken ||= endsConnection(error);
        return rethrow(error);
      }
    },
  };
  try {
    return await (writes(call) ? inTransaction(session, call) : perform(session, call));
  } finally {
    client.release(broken);
  }
}

async function inTransaction(session: Session, call: Call): Promise<unknown> {
  await session.rows({ name: 'usher_begin', sql: 'begin' }, []);
  try {
    const answer = await perform(session, call);
    await session.rows({ name: 'usher_commit', sql: 'commit' }, []);
    return answer;
  } catch (error) {
    // Fails only with the connection, and then the server rolls back by itself.
    await session.rows({ name: 'usher_rollback', sql: 'rollback' }, []).catch(() => {});
    throw error;
  }
}

/** A statement or the connection failed, as opposed to an operation that refuses by itself. */
class StatementFailed extends Error {}

function rethrow(cause: unknown): never {
  throw new StatementFailed('a statement failed', { cause });
}
