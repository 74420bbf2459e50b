import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ClusterView, NodeView } from '#control';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startPostgres, type TestPostgres } from '#test/postgres';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
/** What a loaded machine may take for what is promised within a second or ten. */
const patient = { timeout: 30_000, interval: 50 };

let postgres: TestPostgres;
let simulator: ModelSimulator;
let database: string;
let env: Record<string, string>;
/** One node that reads folders, and two that have none: they share a database and a root key, and nothing else. */
let control: UsherProcess;
let one: UsherProcess;
let two: UsherProcess;
let key: string;
let observeKey: string;

const poolMax = 2;
const storage = { kind: 'postgres', url: { env: 'USHER_TEST_DATABASE' }, poolMax };
const vault = { rootKeys: [{ env: 'USHER_TEST_ROOT' }] };

/** What a node without folders is told: where the database and the models are. */
function withoutFolders() {
  const { config } = usherFiles([simulator.baseUrl], {
    assistants: {},
    config: { storage, vault, tenants: undefined },
  });
  return { config, env, args: ['--role', 'gateway,worker'] };
}

function spec(name: string, title: string): Record<string, string> {
  return { [`${name}/assistant.yaml`]: JSON.stringify({ name, title, page: { access: 'public' } }) };
}

beforeAll(async () => {
  [postgres, simulator] = await Promise.all([startPostgres(), startModelSimulator()]);
  database = await postgres.freshDatabase();
  env = { USHER_TEST_DATABASE: database, USHER_TEST_ROOT: randomBytes(32).toString('base64') };
}, 60_000);
afterAll(async () => {
  await Promise.all([control?.stop(), one?.stop(), two?.stop()]);
  await Promise.all([postgres?.stop(), simulator?.stop()]);
});

async function usherCommand<T>(...args: readonly string[]): Promise<T> {
  const where = ['--config', join(control.home, 'usher.yaml'), '--data', join(control.home, 'cli')];
  const { stdout } = await promisify(execFile)(process.execPath, [launcher, ...args, '--json', ...where], {
    env: { ...process.env, ...env },
  });
  return JSON.parse(stdout) as T;
}

const cluster = (): Promise<ClusterView> => usherCommand<ClusterView>('nodes');

async function nodeOf({ pid }: UsherProcess): Promise<NodeView | undefined> {
  return (await cluster()).nodes.find((node) => node.pid === pid);
}

function clientOf(node: UsherProcess): OpenAI {
  return new OpenAI({ baseURL: `${node.url}/v1`, apiKey: key, maxRetries: 0 });
}

async function statusOf(node: UsherProcess, path: string, apiKey = key): Promise<number> {
  return (await fetch(`${node.url}${path}`, { headers: { authorization: `Bearer ${apiKey}` } })).status;
}

/** The titles of both assistants, as one answer of a node tells them. */
async function titlesAt(node: UsherProcess): Promise<string> {
  const page = await (await fetch(`${node.url}/`)).text();
  return [...page.matchAll(/<strong>([^<]*)<\/strong>/gu)].map(([, title]) => title).join(' and ');
}

describe('nodes over one PostgreSQL', { timeout: 120_000 }, () => {
  test('one that has no folders is not ready until a control node has published, and then serves from the store alone', async () => {
    one = await startUsher(withoutFolders());
    expect(one.chat).toBe('');
    expect(await statusOf(one, '/livez')).toBe(200);
    const unready = await fetch(`${one.url}/readyz`);
    expect(unready.status).toBe(503);
    expect(await unready.json()).toMatchObject({ error: { code: 'not_ready' } });
    const tooEarly = await fetch(`${one.url}/v1/models`, { headers: { authorization: 'Bearer usher_any' } });
    expect(tooEarly.status).toBe(503);
    for (const path of ['/', '/chat/guide']) {
      const page = await fetch(one.url + path, { headers: { accept: 'text/html' } });
      expect(page.status).toBe(503);
      expect(page.headers.get('refresh')).not.toBeNull();
      expect(await page.text()).toContain('The server is starting');
    }
    const { config, files } = usherFiles([simulator.baseUrl], {
      assistants: { guide: {}, porter: {} },
      config: { storage, vault, roles: ['control'] },
    });
    const titles = { ...spec('guide', 'guide 0'), ...spec('porter', 'porter 0') };
    control = await startUsher({ config, files: { ...files, ...titles }, env, args: ['--watch'] });
    await expect.poll(() => statusOf(one, '/readyz'), patient).toBe(200);
    two = await startUsher(withoutFolders());
    expect(two.chat).toBe(`${two.url}/chat/guide`);
    ({ key } = await usherCommand<{ key: string }>('keys', 'create'));
    ({ key: observeKey } = await usherCommand<{ key: string }>('keys', 'create', '--scope', 'observe'));
    for (const node of [one, two]) {
      const answer = await clientOf(node).responses.create({ model: 'guide', input: '[[sim:say Seat seven]]' });
      expect(answer.output_text).toBe('Seat seven');
      expect(await titlesAt(node)).toBe('guide 0 and porter 0');
    }
  });

  test('each answers the routes of its roles, and probes and metrics on every one', async () => {
    for (const path of ['/livez', '/readyz', '/metrics']) {
      for (const node of [control, one]) expect(await statusOf(node, path, observeKey), path).toBe(200);
    }
    expect(await statusOf(control, '/v1/models')).toBe(404);
    expect(await statusOf(control, '/chat/guide')).toBe(404);
    expect(await statusOf(one, '/admin/nodes', observeKey)).toBe(404);
    expect(await statusOf(control, '/admin/nodes', observeKey)).toBe(200);
    expect(await statusOf(control, '/admin/nodes')).toBe(403);
    expect(await statusOf(control, '/admin/nodes', 'usher_none')).toBe(401);
    await using worker = await startUsher({ ...withoutFolders(), args: ['--role', 'worker'] });
    expect(await statusOf(worker, '/readyz')).toBe(200);
    expect(await statusOf(worker, '/v1/models')).toBe(404);
    expect(await statusOf(worker, '/admin/nodes', observeKey)).toBe(404);
  });

  test('one that reads no folders does not pretend to watch them', async () => {
    const refused = startUsher({ ...withoutFolders(), args: ['--role', 'gateway,worker', '--watch'] });
    await expect(refused).rejects.toThrow(/usher: a node without the role control reads no assistant folders/u);
  });

  test('an edit at the control node is served by all others', async () => {
    await expect.poll(() => titlesAt(one), patient).toBe('guide 0 and porter 0');
    const savedAtMs = performance.now();
    await control.write(spec('guide', 'guide 1'));
    const waits = [one, two].map(async (node) => {
      await expect.poll(() => titlesAt(node), { ...patient, interval: 10 }).toBe('guide 1 and porter 0');
      return performance.now() - savedAtMs;
    });
    const [first, second] = await Promise.all(waits);
    process.stdout.write(`an edit reached the other nodes after ${Math.round(first!)} and ${Math.round(second!)} ms\n`);
    const { newestRevision } = await cluster();
    for (const node of [control, one, two]) {
      await expect.poll(async () => (await nodeOf(node))?.appliedRevision, patient).toBe(newestRevision);
    }
  });

  test('two assistants that are published together are never seen half, and serve on while no control node is there', async () => {
    const seen = new Set<string>();
    const looking = new AbortController();
    const looks = [one, two].map(async (node) => {
      while (!looking.signal.aborted) seen.add(await titlesAt(node));
    });
    await control.kill();
    await control.write({ ...spec('guide', 'guide 2'), ...spec('porter', 'porter 2') });
    await control.restart();
    for (const node of [one, two]) await expect.poll(() => titlesAt(node), patient).toBe('guide 2 and porter 2');
    looking.abort();
    await Promise.all(looks);
    expect([...seen].toSorted()).toEqual(['guide 1 and porter 0', 'guide 2 and porter 2']);
  });

  test('a conversation keeps the release that it began with, wherever it goes on', async () => {
    const { id: conversation } = await clientOf(one).conversations.create();
    const ask = (node: UsherProcess, to: OpenAI = clientOf(node)) =>
      to.responses.create({ model: 'guide', conversation, input: '[[sim:say Yes]]' }).withResponse();
    const begun = (await ask(one)).response.headers.get('x-usher-release');
    await control.write({ 'guide/instructions.md': 'You answer in rhyme.' });
    await expect
      .poll(async () => {
        const fresh = clientOf(two).responses.create({ model: 'guide', input: '[[sim:say New]]' });
        return (await fresh.withResponse()).response.headers.get('x-usher-release');
      }, patient)
      .not.toBe(begun);
    expect((await ask(two)).response.headers.get('x-usher-release')).toBe(begun);
  });

  test('a bad edit at the control node changes nothing anywhere', async () => {
    const { newestRevision } = await cluster();
    await control.write({ 'porter/assistant.yaml': 'nam: porter\n' });
    await expect.poll(() => control.logs(), patient).toContain('release rejected');
    expect(await titlesAt(one)).toBe('guide 2 and porter 2');
    expect((await cluster()).newestRevision).toBe(newestRevision);
    await control.write(spec('porter', 'porter 2'));
  });

  test('a node that is asked for a pool which it lacks serves on what it had, and says so to its operator', async () => {
    const backends = [{ name: 'a', kind: 'openai-compatible', url: simulator.baseUrl, model: 'simulated' }];
    const pools = ['default', 'fast'].map((name) => ({ name, backends: ['a'] }));
    const { config, files } = usherFiles([], {
      assistants: { guide: { spec: { title: 'guide of another', pools: [{ pool: 'fast' }] } } },
      config: { storage, vault, roles: ['control'], backends, pools },
    });
    await using rival = await startUsher({ config, files, env });
    const told = async (node: UsherProcess): Promise<string> => (await nodeOf(node))?.problem ?? '';
    await expect.poll(() => told(one), patient).toContain('the pool "fast", which this node does not have');
    expect(await titlesAt(one)).toBe('guide 2 and porter 2');
    // Both control nodes are told that their folders are not the same.
    const differ = 'the folders of this node differ';
    await expect.poll(() => told(control), patient).toContain('folders differ from what serves');
    for (const node of [control, rival]) await expect.poll(() => node.logs(), patient).toContain(differ);
    await control.write(spec('guide', 'guide 3'));
    for (const node of [one, two]) await expect.poll(() => titlesAt(node), patient).toBe('guide 3 and porter 2');
    await expect.poll(() => told(one), patient).toBe('');
  });

  test('a pool of two connections serves two hundred streams that are open at once', async () => {
    await simulator.planAll({ tokens: 30, fault: { kind: 'stall', after: 5 } });
    const client = clientOf(one);
    const states: (string | undefined)[] = [];
    const streams = Array.from({ length: 200 }, async (_, index) => {
      const stream = await client.responses.create({ model: 'guide', input: `guest ${index}`, stream: true });
      for await (const event of stream) {
        if (event.type === 'response.completed') states.push(event.response.status);
      }
    });
    await simulator.until((log) => log.totals.active === streams.length, 60_000);
    const watcher = new Client({ connectionString: database });
    await watcher.connect();
    const held = async (): Promise<number> => {
      const text = `select count(*)::int as held from pg_stat_activity
        where application_name = 'usher' and datname = current_database() and state like 'idle in transaction%'`;
      return (await watcher.query<{ held: number }>(text)).rows[0]!.held;
    };
    const open = `select count(*)::int as open from pg_stat_activity
      where application_name = 'usher' and datname = current_database()`;
    // While all of them wait for the model, whoever else comes is served.
    for (let round = 0; round < 20; round += 1) await client.models.list();
    await expect.poll(held, patient).toBe(0);
    const connections = (await watcher.query<{ open: number }>(open)).rows[0]!.open;
    expect(connections).toBeLessThanOrEqual(3 * poolMax);
    await expect.poll(async () => (await nodeOf(one))?.runningTurns, patient).toBe(streams.length);
    await simulator.clear();
    await simulator.control({ do: 'release' });
    await Promise.all(streams);
    expect(states).toEqual(streams.map(() => 'completed'));
    await watcher.end();
    await expect.poll(async () => (await nodeOf(one))?.runningTurns, patient).toBe(0);
  });

  test('one that drains is seen as such while it finishes, and is listed no more once it has left', async () => {
    await simulator.plan({ tokens: 30, fault: { kind: 'stall', after: 5 } });
    const answer = clientOf(two).responses.create({ model: 'guide', input: 'slow' });
    await simulator.until((log) => log.totals.active === 1);
    const { pid } = two;
    const ended = two.kill('SIGTERM');
    await expect.poll(async () => (await nodeOf(two))?.state, patient).toBe('draining');
    expect(await nodeOf(two)).toMatchObject({ runningTurns: 1, roles: ['gateway', 'worker'] });
    await simulator.control({ do: 'release' });
    expect(await answer).toMatchObject({ status: 'completed' });
    expect(await ended).toEqual({ code: 0, signal: null });
    expect((await cluster()).nodes.map((node) => node.pid)).not.toContain(pid);
    await two.restart();
  });

  test('one that is killed counts as gone for its operator, by command, over HTTP and in the metrics', async () => {
    await two.kill();
    const state = async (): Promise<string | undefined> => (await nodeOf(two))?.state;
    expect(await state()).toBe('serving');
    await expect.poll(state, { timeout: 60_000, interval: 500 }).toBe('gone');
    const answer = await fetch(`${control.url}/admin/nodes`, { headers: { authorization: `Bearer ${observeKey}` } });
    const view = (await answer.json()) as ClusterView;
    expect(view.nodes.filter((node) => node.state === 'gone').map(({ pid }) => pid)).toContain(two.pid);
    expect(view.newestRevision).toBeGreaterThan(0);
    const metrics = async (): Promise<string> => (await fetch(`${one.url}/metrics`)).text();
    await expect.poll(metrics, patient).toMatch(/usher_nodes\{state="gone"\} [1-9]/u);
    expect(await metrics()).toContain(`usher_snapshot_revision{which="applied"} ${view.newestRevision}`);
    expect(one.logs() + control.logs()).not.toContain('"msg":"unexpected error"');
  });

  test('a database that is away for a moment keeps nobody from serving what is published after it is back', async () => {
    await postgres.crash();
    await expect.poll(() => statusOf(one, '/readyz'), patient).toBe(503);
    await postgres.start();
    await expect.poll(() => statusOf(one, '/readyz'), patient).toBe(200);
    await control.write(spec('guide', 'guide 4'));
    await expect.poll(() => titlesAt(one), patient).toBe('guide 4 and porter 2');
    await expect.poll(async () => (await nodeOf(one))?.state, patient).toBe('serving');
    const told = one.logs().match(/"operation":"snapshotRevision"/gu) ?? [];
    expect(told.length).toBeLessThanOrEqual(2);
  });
});

describe('a gateway and a worker apart', { timeout: 90_000 }, () => {
  test('what is stored waits at the gateway until there is a worker; what is not kept is answered by the gateway itself', async () => {
    const apart = { ...env, USHER_TEST_DATABASE: await postgres.freshDatabase() };
    const { config, files } = usherFiles([simulator.baseUrl], {
      assistants: { guide: {} },
      config: { storage, vault },
    });
    await using gateway = await startUsher({ config, files, env: apart, args: ['--role', 'gateway,control'] });
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.apiKey, maxRetries: 0 });
    await simulator.clear();
    const said = await client.chat.completions.create({
      model: 'guide',
      messages: [{ role: 'user', content: '[[sim:say Here]]' }],
    });
    expect(said.choices[0]?.message.content).toBe('Here');
    const begun = (await simulator.log()).totals.requests;
    const waiting = client.responses.create({ model: 'guide', input: '[[sim:say From the worker]]' });
    const known = new Client({ connectionString: apart.USHER_TEST_DATABASE });
    await known.connect();
    const queued = async (): Promise<number> =>
      (await known.query<{ n: number }>('select count(*)::int as n from queued_turns')).rows[0]!.n;
    await expect.poll(queued, patient).toBe(1);
    expect((await simulator.log()).totals.requests).toBe(begun);
    await using worker = await startUsher({ ...withoutFolders(), env: apart, args: ['--role', 'worker'] });
    expect((await waiting).output_text).toBe('From the worker');
    // The owner's word holds here too: a second message is refused, not queued.
    const { id: conversation } = await client.conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    const running = client.responses.create({ model: 'guide', conversation, input: 'slow' });
    await simulator.until((log) => log.totals.active === 1);
    const impatient = client.responses.create({ model: 'guide', conversation, input: 'now' });
    await expect(impatient).rejects.toMatchObject({ status: 400, code: 'conversation_locked' });
    await simulator.control({ do: 'release' });
    await running;
    expect(await statusOf(worker, '/livez')).toBe(200);
    await known.end();
  });

  test('an answer that ended just after its client had left the gateway is given to the repeat, one that was heard is not', async () => {
    const apart = { ...env, USHER_TEST_DATABASE: await postgres.freshDatabase() };
    const { config, files } = usherFiles([simulator.baseUrl], {
      assistants: { guide: {} },
      config: { storage, vault },
    });
    await using gateway = await startUsher({ config, files, env: apart, args: ['--role', 'gateway,control'] });
    await using worker = await startUsher({ ...withoutFolders(), env: apart, args: ['--role', 'worker'] });
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.apiKey, maxRetries: 0 });
    await simulator.clear();
    const { id: conversation } = await client.conversations.create();
    const ask = { model: 'guide', conversation, input: '[[sim:tokens 60]] [[sim:pace 10]]' };
    const leaving = new AbortController();
    const left = client.responses.create(ask, { signal: leaving.signal });
    await simulator.until((log) => (log.requests.at(-1)?.tokens ?? 0) > 30);
    leaving.abort();
    await expect(left).rejects.toThrow(/abort/u);
    const said = async () => (await client.conversations.items.list(conversation)).data.length;
    await expect.poll(said, patient).toBe(2);
    const again = { headers: { 'X-Stainless-Retry-Count': '1' } };
    await client.responses.create(ask, again);
    expect(await said()).toBe(2);
    await client.responses.create(ask, again);
    expect(await said()).toBe(4);
    expect(await statusOf(worker, '/livez')).toBe(200);
  });
});

describe('one process over SQLite', { timeout: 60_000 }, () => {
  test('is a cluster of one: it publishes to itself, lists itself, and starts again without publishing anew', async () => {
    await using lone = await startUsher(usherFiles([simulator.baseUrl]));
    const listed = async (...more: readonly string[]): Promise<string> => {
      const where = ['--config', join(lone.home, 'usher.yaml'), '--data', lone.dataDir];
      return (await promisify(execFile)(process.execPath, [launcher, 'nodes', ...more, ...where])).stdout;
    };
    const view = JSON.parse(await listed('--json')) as ClusterView;
    expect(view.nodes).toMatchObject([
      { pid: lone.pid, state: 'serving', roles: ['gateway', 'worker', 'control'], appliedRevision: 1, problem: null },
    ]);
    await lone.kill();
    await lone.restart();
    process.stdout.write(`a start over SQLite took ${Math.round(lone.startMs)} ms\n`);
    // The killed process is not kept as a node that is gone: there can be one alone.
    const again = JSON.parse(await listed('--json')) as ClusterView;
    expect(again).toMatchObject({ newestRevision: 1, nodes: [{ pid: lone.pid, appliedRevision: 1 }] });
    expect(again.nodes).toHaveLength(1);
    expect(await listed()).toMatch(/^id +at +roles .*\nnode_\w+ .* serving .*\nNewest snapshot: 1\n$/su);
  });

  test('is told the mend where it shall do less than all', async () => {
    const refused = startUsher({ ...usherFiles([simulator.baseUrl]), args: ['--role', 'gateway'] });
    await expect(refused).rejects.toThrow(/SQLite serves one process, which needs every role; leave out --role/u);
  });
});
