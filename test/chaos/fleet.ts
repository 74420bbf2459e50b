import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { startFaultProxy, type FaultProxy } from '#test/fault-proxy';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startPostgres } from '#test/postgres';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';
import { startToolServer, type ToolServer } from './tool-server.ts';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));

/**
 * `shared`: three nodes that do all of it. `split`: two gateways, one of which controls, and two
 * workers, one of which controls. `alone`: one process over SQLite.
 */
export type FleetKind = 'shared' | 'split' | 'alone';

/** Real processes over one database, with all that they talk to. */
export interface Fleet extends AsyncDisposable {
  readonly nodes: readonly UsherProcess[];
  /** Those that clients talk to. */
  readonly doors: readonly UsherProcess[];
  /** Those that run turns. */
  readonly workers: readonly UsherProcess[];
  /** Those that people answer at. */
  readonly desks: readonly UsherProcess[];
  readonly apiKey: string;
  readonly operatorKey: string;
  readonly simulator: ModelSimulator;
  readonly tools: ToolServer;
  /** Between the nodes and PostgreSQL; undefined over SQLite. */
  readonly proxy: FaultProxy | undefined;
  /** Whether the database refuses to record that a turn has ended; undefined over SQLite. */
  readonly refuseEnds: ((does: boolean) => Promise<void>) | undefined;
  /** Rows of events written under an older epoch after a newer one had begun. */
  staleRows(): Promise<number>;
}

export const announced = 'A person will answer you here.';

const bookTool = (origin: string, name: string, more: object) => ({
  kind: 'http',
  name,
  description: 'Books a seat.',
  method: 'POST',
  url: `${origin}/${name}`,
  parameters: { type: 'object', properties: { seat: { type: 'integer' } } },
  ...more,
});

const assistantsOf = (origin: string) => {
  const turns = { rescue: 'continue', outliveClientMs: 120_000 };
  const tools = [
    bookTool(origin, 'book', {}),
    bookTool(origin, 'reserve', { idempotent: true }),
    bookTool(origin, 'pay', { confirm: true }),
  ];
  return {
    guest: { spec: { turns, tools } },
    desk: { spec: { turns, handover: { announce: announced } } },
    keeper: { spec: { turns, context: { budgetTokens: 1500, whenFull: 'compact', compactAt: 0.6 } } },
  };
};

/** Slow enough to be struck in the middle of it. */
const summary = {
  plan: { say: 'The guest would like a seat near the aisle, as was said before.', tokenMs: 60 },
  rule: { contains: 'Write the summary.' },
};

const rolesOf: Readonly<Record<Exclude<FleetKind, 'alone'>, readonly string[]>> = {
  shared: ['gateway,worker,control', 'gateway,worker,control', 'gateway,worker,control'],
  // Who controls comes first: nobody else is ready before it has published.
  split: ['gateway,control', 'gateway', 'worker,control', 'worker'],
};

export async function startFleet(kind: FleetKind): Promise<Fleet> {
  const stack = new AsyncDisposableStack();
  const simulator = stack.adopt(await startModelSimulator(), (opened) => opened.stop());
  await simulator.planAll(summary.plan, summary.rule);
  const tools = stack.adopt(await startToolServer(150), (opened) => opened.stop());
  const assistants = assistantsOf(tools.origin);
  const limits = { connections: 20_000, drainMs: 2000 };
  const common = { tools: { privateOrigins: [tools.origin] }, limits };
  if (kind === 'alone') {
    const files = usherFiles([simulator.baseUrl], { assistants, config: common });
    const node = stack.adopt(await startUsher(files), (opened) => opened.stop());
    const [nodes, { apiKey }, operatorKey] = [[node], node, await node.key('operate')];
    const roles = {
      nodes,
      doors: nodes,
      workers: nodes,
      desks: nodes,
      staleRows: async () => 0,
      refuseEnds: undefined,
    };
    return fleet(stack, { ...roles, apiKey, operatorKey, simulator, tools, proxy: undefined });
  }
  const postgres = stack.adopt(await startPostgres(), (opened) => opened.stop());
  const direct = await postgres.freshDatabase();
  const socket = `${new URL(direct).searchParams.get('host') ?? ''}/.s.PGSQL.5432`;
  const proxy = stack.adopt(await startFaultProxy(socket), (opened) => opened.stop());
  const name = new URL(direct).pathname;
  const env = {
    USHER_TEST_DATABASE: `postgres://postgres@127.0.0.1:${proxy.port}${name}`,
    USHER_TEST_ROOT: randomBytes(32).toString('base64'),
  };
  // Over PostgreSQL answers are gone on with, over SQLite they are made anew.
  const files = usherFiles([simulator.baseUrl], {
    assistants,
    backend: { continuation: 'final-message' },
    config: {
      ...common,
      storage: { kind: 'postgres', url: { env: 'USHER_TEST_DATABASE' }, poolMax: 6 },
      vault: { rootKeys: [{ env: 'USHER_TEST_ROOT' }] },
    },
  });
  const nodes: UsherProcess[] = [];
  for (const roles of rolesOf[kind]) {
    const started = await startUsher({ ...files, env, args: ['--role', roles] });
    nodes.push(stack.adopt(started, (opened) => opened.stop()));
  }
  const having = (role: string) => nodes.filter((_, index) => rolesOf[kind][index]!.split(',').includes(role));
  return fleet(stack, {
    nodes,
    doors: having('gateway'),
    workers: having('worker'),
    desks: having('control'),
    apiKey: await makeKey(nodes[0]!, env, 'talk'),
    operatorKey: await makeKey(nodes[0]!, env, 'operate'),
    simulator,
    tools,
    proxy,
    staleRows: () => countStaleRows(direct),
    refuseEnds: (does) => refuseEnds(direct, does),
  });
}

function fleet(stack: AsyncDisposableStack, parts: Omit<Fleet, keyof AsyncDisposable>): Fleet {
  return { ...parts, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function makeKey(
  node: UsherProcess,
  env: Readonly<Record<string, string>>,
  scope: 'talk' | 'operate',
): Promise<string> {
  const where = ['--config', join(node.home, 'usher.yaml'), '--data', join(node.home, 'cli')];
  const args = [launcher, 'keys', 'create', '--name', 'chaos', '--scope', scope, '--json', ...where];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
  return (JSON.parse(stdout) as { key: string }).key;
}

const refusal = `
  create or replace function refuse_end() returns trigger language plpgsql as $$
    begin raise exception 'refused'; end $$;
  create trigger ends_refused before update of state on turns for each row
    when (old.state = 'running' and new.state <> 'running') execute function refuse_end()`;

async function refuseEnds(url: string, does: boolean): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(does ? refusal : 'drop trigger ends_refused on turns');
  } finally {
    await client.end();
  }
}

/** By the numbers: a batch of an older epoch that begins after the first of a newer one was accepted by mistake. */
async function countStaleRows(url: string): Promise<number> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>(
      `select count(*) as count from turn_events older join turn_events newer
         on newer.tenant = older.tenant and newer.turn = older.turn
        where older.epoch < newer.epoch and older.last_seq >= newer.first_seq`,
    );
    return Number(rows[0]?.count ?? 0);
  } finally {
    await client.end();
  }
}
