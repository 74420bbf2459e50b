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

/** Real processes over one database, with all that they talk to. */
export interface Fleet extends AsyncDisposable {
  readonly nodes: readonly UsherProcess[];
  readonly apiKey: string;
  readonly simulator: ModelSimulator;
  readonly tools: ToolServer;
  /** Between the nodes and PostgreSQL; undefined over SQLite. */
  readonly proxy: FaultProxy | undefined;
  /** Rows of events written under an older epoch after a newer one had begun. */
  staleRows(): Promise<number>;
}

const bookTool = (origin: string, name: string, idempotent: boolean) => ({
  kind: 'http',
  name,
  description: 'Books a seat.',
  method: 'POST',
  url: `${origin}/${name}`,
  parameters: { type: 'object', properties: { seat: { type: 'integer' } } },
  idempotent,
});

export async function startFleet(database: 'postgres' | 'sqlite'): Promise<Fleet> {
  const stack = new AsyncDisposableStack();
  const simulator = stack.adopt(await startModelSimulator(), (opened) => opened.stop());
  const tools = stack.adopt(await startToolServer(150), (opened) => opened.stop());
  const assistants = {
    guest: {
      spec: {
        turns: { rescue: 'continue', outliveClientMs: 120_000 },
        tools: [bookTool(tools.origin, 'book', false), bookTool(tools.origin, 'reserve', true)],
      },
    },
  };
  const common = { tools: { privateOrigins: [tools.origin] } };
  if (database === 'sqlite') {
    const files = usherFiles([simulator.baseUrl], { assistants, config: common });
    const node = stack.adopt(await startUsher(files), (opened) => opened.stop());
    const { apiKey } = node;
    return fleet(stack, { nodes: [node], apiKey, simulator, tools, proxy: undefined, staleRows: async () => 0 });
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
  for (let count = 0; count < 3; count += 1) {
    nodes.push(stack.adopt(await startUsher({ ...files, env }), (opened) => opened.stop()));
  }
  const apiKey = await makeKey(nodes[0]!, env);
  const staleRows = (): Promise<number> => countStaleRows(direct);
  return fleet(stack, { nodes, apiKey, simulator, tools, proxy, staleRows });
}

function fleet(stack: AsyncDisposableStack, parts: Omit<Fleet, keyof AsyncDisposable>): Fleet {
  return { ...parts, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function makeKey(node: UsherProcess, env: Readonly<Record<string, string>>): Promise<string> {
  const where = ['--config', join(node.home, 'usher.yaml'), '--data', join(node.home, 'cli')];
  const args = [launcher, 'keys', 'create', '--name', 'chaos', '--json', ...where];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } });
  return (JSON.parse(stdout) as { key: string }).key;
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
