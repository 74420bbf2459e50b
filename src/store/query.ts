import {
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
  type Compilable,
  type RawBuilder,
  type SqlBool,
} from 'kysely';
import type { Reach } from '#access';
import type { ContentTable, Tables } from './schema.ts';

/*
 * Queries are written once with Kysely and compiled once for each database: building and compiling
 * one anew costs tens of microseconds, several times what SQLite needs to run it. Arguments are
 * named slots in the compiled text, filled at each run.
 */

export type Dialect = 'sqlite' | 'postgres';

export interface Statement {
  readonly sql: string;
  /** Unique to the text: the name under which PostgreSQL keeps the prepared statement; without one it plans each run. */
  readonly name: string | undefined;
}

/** One transaction (for writes) or one connection (for reads) of either database. */
export interface Session {
  readonly dialect: Dialect;
  rows(statement: Statement, values: readonly unknown[]): Promise<readonly unknown[]>;
}

/** Thrown by an operation to leave nothing behind and answer `answer`. */
export class Undo {
  readonly answer: unknown;
  constructor(answer: unknown) {
    this.answer = answer;
  }
}

type Build<Args, Row> = (query: {
  readonly db: Kysely<Tables>;
  readonly arg: <Name extends keyof Args & string>(name: Name) => Args[Name];
  /** Epoch milliseconds by the database's own clock: the one that all nodes share. */
  readonly nowMs: RawBuilder<number>;
  readonly dialect: Dialect;
}) => Compilable<Row>;

type BuildWithin<Args, Row> = (query: {
  readonly db: Kysely<Tables>;
  readonly arg: <Name extends keyof Args & string>(name: Name) => Args[Name];
  readonly nowMs: RawBuilder<number>;
  /** The condition that keeps a table's rows within the caller's reach. */
  readonly within: (table: ContentTable) => RawBuilder<SqlBool>;
}) => Compilable<Row>;

/** Where an argument goes in a compiled statement. */
class Slot {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

interface Compiled extends Statement {
  readonly slots: readonly string[];
}

const builders: Readonly<Record<Dialect, Kysely<Tables>>> = {
  sqlite: new Kysely<Tables>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  }),
  postgres: new Kysely<Tables>({
    dialect: {
      createAdapter: () => new PostgresAdapter(),
      createDriver: () => new DummyDriver(),
      createIntrospector: (db) => new PostgresIntrospector(db),
      createQueryCompiler: () => new PostgresQueryCompiler(),
    },
  }),
};

/** Epoch milliseconds by the database's own clock. */
export const databaseNowMs: Readonly<Record<Dialect, RawBuilder<number>>> = {
  sqlite: sql<number>`cast(unixepoch('subsec') * 1000 as integer)`,
  postgres: sql<number>`cast(extract(epoch from clock_timestamp()) * 1000 as bigint)`,
};

let statementsNamed = 0;

function compile(build: (db: Kysely<Tables>) => Compilable, dialect: Dialect): Compiled {
  const { sql: text, parameters } = build(builders[dialect]).compile();
  const slots = parameters.map((parameter) => {
    if (!(parameter instanceof Slot)) throw new Error(`a value was written into the query: ${text}`);
    return parameter.name;
  });
  statementsNamed += 1;
  return { sql: text, name: `usher_${statementsNamed}`, slots };
}

function slot(name: string): never {
  return new Slot(name) as never;
}

/** A query outside any one person's reach: keys, audit, releases of a named tenant, housekeeping. */
export function systemQuery<Args extends object, Row>(
  build: Build<Args, Row>,
  isKept = true,
): (session: Session, args: Args) => Promise<readonly Row[]> {
  const compiled = new Map<Dialect, Compiled>();
  return (session, args) => {
    let statement = compiled.get(session.dialect);
    if (statement === undefined) {
      const nowMs = databaseNowMs[session.dialect];
      const { dialect } = session;
      const named = compile((db) => build({ db, arg: slot, nowMs, dialect }), dialect);
      statement = isKept ? named : { ...named, name: undefined };
      compiled.set(session.dialect, statement);
    }
    const values = statement.slots.map((name) => args[name as keyof Args]);
    return session.rows(statement, values) as Promise<readonly Row[]>;
  };
}

/** A system query whose best plan changes with what there is from one moment to the next: PostgreSQL plans each run. */
export function replannedQuery<Args extends object, Row>(
  build: Build<Args, Row>,
): ReturnType<typeof systemQuery<Args, Row>> {
  return systemQuery(build, false);
}

/**
 * A query on content. Exists in two forms, for the whole tenant and for one person; a form that
 * does not use the whole reach is refused when it is compiled.
 */
export function contentQuery<Args extends object, Row>(
  build: BuildWithin<Args, Row>,
): (session: Session, reach: Reach, args: Args) => Promise<readonly Row[]> {
  const compiled = new Map<string, Compiled>();
  return (session, reach, args) => {
    const form = `${session.dialect} ${reach.subject === null ? 'tenant' : 'person'}`;
    let statement = compiled.get(form);
    if (statement === undefined) {
      statement = compileWithin(build, session.dialect, reach.subject !== null);
      compiled.set(form, statement);
    }
    const values = statement.slots.map((name) => {
      if (name === '@tenant') return reach.tenant;
      if (name === '@subject') return reach.subject;
      return args[name as keyof Args];
    });
    return session.rows(statement, values) as Promise<readonly Row[]>;
  };
}

function compileWithin<Args, Row>(build: BuildWithin<Args, Row>, dialect: Dialect, person: boolean): Compiled {
  const within = (table: ContentTable): RawBuilder<SqlBool> => {
    const tenant = sql<SqlBool>`${sql.ref(`${table}.tenant`)} = ${slot('@tenant')}`;
    if (!person) return tenant;
    return sql<SqlBool>`(${tenant} and ${sql.ref(`${table}.subject`)} = ${slot('@subject')})`;
  };
  const statement = compile((db) => build({ db, arg: slot, within, nowMs: databaseNowMs[dialect] }), dialect);
  const whole = statement.slots.includes('@tenant') && (!person || statement.slots.includes('@subject'));
  if (!whole) throw new Error(`a content query does not use its reach: ${statement.sql}`);
  return statement;
}

/** Rows of one statement; 17 columns of 64 rows stay far below both databases' limit on parameters. */
const rowsPerStatement = 64;

/** An insert of any number of rows, in one statement for each 64. */
export function insertQuery<Row extends object>(
  build: (db: Kysely<Tables>, rows: readonly Row[]) => Compilable,
): (session: Session, rows: readonly Row[]) => Promise<void> {
  const insert = rowsQuery<Row, unknown>(build);
  return async (session, rows) => void (await insert(session, rows));
}

/** A query about any number of rows, in one statement for each 64; answers what all of them answered. */
export function rowsQuery<Row extends object, Answer>(
  build: (db: Kysely<Tables>, rows: readonly Row[], dialect: Dialect) => Compilable<Answer>,
): (session: Session, rows: readonly Row[]) => Promise<readonly Answer[]> {
  const compiled = new Map<string, { readonly statement: Compiled; readonly cells: readonly Cell[] }>();
  return async (session, rows) => {
    const answers: Answer[] = [];
    for (let from = 0; from < rows.length; from += rowsPerStatement) {
      const part = rows.slice(from, from + rowsPerStatement);
      const form = `${session.dialect} ${part.length}`;
      let found = compiled.get(form);
      if (found === undefined) {
        const { dialect } = session;
        const statement = compile((db) => build(db, slotRows(part.length), dialect), dialect);
        found = { statement, cells: statement.slots.map(cellOf) };
        compiled.set(form, found);
      }
      const values = found.cells.map(({ row, column }) => part[row]![column as keyof Row]);
      answers.push(...((await session.rows(found.statement, values)) as readonly Answer[]));
    }
    return answers;
  };
}

/** Rows whose every property is the slot of that property in that row. */
function slotRows(count: number): readonly never[] {
  return Array.from(
    { length: count },
    (_, row) => new Proxy({}, { get: (_target, column) => slot(`${row}.${String(column)}`) }) as never,
  );
}

interface Cell {
  readonly row: number;
  readonly column: string;
}

function cellOf(slotName: string): Cell {
  const dot = slotName.indexOf('.');
  return { row: Number(slotName.slice(0, dot)), column: slotName.slice(dot + 1) };
}
