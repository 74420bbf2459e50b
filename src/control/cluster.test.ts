import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newId, systemClock, UsherError, type Id } from '#base';
import type { TenantId } from '#access';
import { roles } from '#cluster';
import type { TenantConfig } from '#config';
import type { Release } from '#release';
import type { NodeReport, Store } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openTelemetry, type Telemetry } from '#telemetry';
import { openRootKeys, openVault, type Vault } from '#vault';
import { SnapshotFollower } from './follow-snapshots.ts';
import { listNodes } from './list-nodes.ts';
import { KnowledgeVectors } from './knowledge-vectors.ts';
import { FolderLoader } from './load-folders.ts';
import { lackOf, type NodeMeans } from './node-means.ts';
import { openPresence } from './open-presence.ts';
import { openOutage } from './outage.ts';
import { FolderPublisher } from './publish-folders.ts';
import { ReleaseArchive } from './release-archive.ts';
import { SnapshotDirectory } from './snapshot-directory.ts';

const template = fileURLToPath(new URL('../../examples/template/', import.meta.url));
const north = 'north' as TenantId;

type Told = Record<string, unknown> & { readonly msg: string };

let folder: string;
let store: Store;
let vault: Vault;
let telemetry: Telemetry;
let told: Told[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-cluster-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  const roots = await openRootKeys({ dataDir: folder, given: [randomBytes(32)], hasTenantKeys: false });
  vault = openVault({ keys: store.system, roots });
  told = [];
  telemetry = await openTelemetry({
    logLevel: 'debug',
    logTo: { write: (line) => void told.push(JSON.parse(line) as Told) },
    otel: false,
    serviceName: 'usher',
    version: 'test',
  });
});
afterEach(async () => {
  await telemetry.close();
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

/** An assistant folder, called as the assistant, which says how it answers and from which pool. */
async function write(place: string, how: string, pool = 'default'): Promise<void> {
  await cp(template, join(folder, place), { recursive: true });
  const spec = { name: place.split('/').at(-1), title: how, pools: [{ pool }] };
  await writeFile(join(folder, place, 'assistant.yaml'), JSON.stringify(spec));
  await writeFile(join(folder, place, 'instructions.md'), how);
}

function tenantOf(places: readonly string[], change: Partial<TenantConfig> = {}): TenantConfig {
  const assistants = places.map((place) => {
    const name = place.split('/').at(-1)!;
    const sides = [{ folder: join(folder, place), share: 1 }];
    return { name, environments: new Map([['production', { salt: `${name}/production`, sides }]]) };
  });
  return { id: north, assistants, corsOrigins: [], limits: { requestsPerMinute: 100, concurrency: 10 }, ...change };
}

/** A node over the store. `pools`: those that it has. */
function aNode(tenants: readonly TenantConfig[] = [], pools: readonly string[] = ['default', 'fast']) {
  const means: NodeMeans = { pools, embeddings: [], credentialsOf: () => [] };
  const rooms = { store, vault, clock: systemClock, telemetry };
  const archive = new ReleaseArchive(rooms, new KnowledgeVectors(rooms, new Map()));
  const directory = new SnapshotDirectory(rooms, archive, means);
  const follower = new SnapshotFollower({ system: store.system, directory, clock: systemClock, telemetry });
  const loader = new FolderLoader(rooms, archive, tenants, means);
  const owner = newId('node');
  const publisher = new FolderPublisher({ system: store.system, loader, follower, owner, telemetry });
  return { owner, directory, follower, publisher };
}

function aReport(id: Id<'node'>, change: Partial<NodeReport> = {}): NodeReport {
  const here = { version: 'test', host: 'here', pid: 1, startedAtMs: 1, state: 'serving', problem: null } as const;
  return { id, roles, appliedRevision: 0, runningTurns: 0, ...here, ...change };
}

type Node = ReturnType<typeof aNode>;

/** How each assistant answers there, in one look. */
function answers({ directory }: Node): readonly string[] {
  return directory.list(north).map(({ title }) => title);
}

async function served({ directory }: Node, assistant: string) {
  return directory.choose(await directory.resolve(north, assistant), 'somebody');
}

test('a node without folders serves from the store alone what a control node publishes', async () => {
  await write('guide', 'Briefly.');
  const reader = aNode();
  await reader.follower.catchUp();
  expect(reader.directory.revision).toBe(0);
  expect(reader.directory.tenants()).toEqual([]);
  const control = aNode([tenantOf(['guide'], { corsOrigins: ['https://a.example'] })]);
  await control.publisher.reload();
  await reader.follower.catchUp();
  expect(reader.directory.revision).toBe(control.directory.revision);
  expect(reader.directory.list(north)).toEqual(control.directory.list(north));
  expect((await served(reader, 'guide')).release).toEqual((await served(control, 'guide')).release);
  expect(reader.directory.limitsOf(north)).toEqual({ requestsPerMinute: 100, concurrency: 10 });
  expect(reader.directory.corsOrigins.get(north)).toEqual(['https://a.example']);
});

test('a turn that began with one snapshot goes on with it after the next is applied', async () => {
  await write('guide', 'Briefly.');
  const [control, reader] = [aNode([tenantOf(['guide'])]), aNode()];
  await control.publisher.reload();
  await reader.follower.catchUp();
  const begun = await served(reader, 'guide');
  await write('guide', 'In rhyme.');
  await control.publisher.reload();
  await reader.follower.catchUp();
  expect((await served(reader, 'guide')).release.instructions).toBe('In rhyme.');
  expect(begun.release.instructions).toBe('Briefly.');
  expect(await begun.search('How do I change how it answers?', 1)).toHaveLength(1);
});

test('two assistants that are edited together change together, however often a reader looks', async () => {
  for (const place of ['guide', 'porter']) await write(place, 'v0');
  const [control, reader] = [aNode([tenantOf(['guide', 'porter'])]), aNode()];
  await control.publisher.reload();
  await reader.follower.catchUp();
  const looking = new AbortController();
  const seen = new Set<string>();
  const look = (async () => {
    while (!looking.signal.aborted) {
      seen.add(answers(reader).join(' '));
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  })();
  for (let version = 1; version <= 8; version += 1) {
    for (const place of ['guide', 'porter']) await write(place, `v${version}`);
    await control.publisher.reload();
    await reader.follower.catchUp();
  }
  looking.abort();
  await look;
  seen.add(answers(reader).join(' '));
  expect(seen).toContain('v8 v8');
  for (const both of seen) expect(both).toMatch(/^(v\d) \1$/u);
});

test('folders that say what serves already are not published again, by the same node or by another', async () => {
  await write('guide', 'Briefly.');
  const [one, two] = [aNode([tenantOf(['guide'])]), aNode([tenantOf(['guide'])])];
  await one.publisher.reload();
  const { revision } = one.directory;
  const before = one.directory.list(north);
  await one.publisher.reload();
  await two.publisher.reload();
  expect(await store.system.snapshotRevision()).toBe(revision);
  expect(two.directory.revision).toBe(revision);
  // Since when it serves is one truth too.
  expect(two.directory.list(north)).toEqual(before);
  expect([one.publisher.difference(), two.publisher.difference()]).toEqual([undefined, undefined]);
});

test('of two control nodes with other folders the newest publish serves everywhere, and both say so', async () => {
  await write('one/guide', 'As one says.');
  await write('two/guide', 'As two says.');
  const [one, two, reader] = [aNode([tenantOf(['one/guide'])]), aNode([tenantOf(['two/guide'])]), aNode()];
  for (const { owner } of [one, two]) await store.system.putNode(aReport(owner));
  await one.publisher.reload();
  await two.publisher.reload();
  for (const node of [one, two, reader]) {
    await node.follower.catchUp();
    expect(answers(node)).toEqual(['As two says.']);
  }
  expect(one.publisher.difference()).toContain(two.owner);
  expect(two.publisher.difference()).toBeUndefined();
  const warned = told.filter(({ msg }) => msg.startsWith('the folders of this node differ'));
  expect(new Set(warned.map(({ other }) => other))).toEqual(new Set([one.owner, two.owner]));
  expect(warned).toHaveLength(2);
  // It does not take its turn for ever: only an edit publishes again.
  await one.publisher.reload();
  expect(answers(one)).toEqual(['As two says.']);
  await write('one/guide', 'As one says now.');
  await one.publisher.reload();
  await two.follower.catchUp();
  expect(answers(two)).toEqual(['As one says now.']);
  expect(two.publisher.difference()).toContain(one.owner);
});

test('who replaces what a node published that is gone says nothing', async () => {
  await write('one/guide', 'As one says.');
  await write('two/guide', 'As two says.');
  await aNode([tenantOf(['one/guide'])]).publisher.reload();
  await aNode([tenantOf(['two/guide'])]).publisher.reload();
  expect(told.filter(({ msg }) => msg.startsWith('the folders of this node differ'))).toEqual([]);
});

test('a node that lacks a pool keeps the last good snapshot, says which pool, and takes the next that it can serve', async () => {
  await write('guide', 'Briefly.');
  await write('porter', 'Briefly.');
  const [control, poor] = [aNode([tenantOf(['guide', 'porter'])]), aNode([], ['default'])];
  await control.publisher.reload();
  await poor.follower.catchUp();
  const good = poor.directory.revision;
  await write('guide', 'Quickly.', 'fast');
  await write('porter', 'Quickly.');
  await control.publisher.reload();
  await poor.follower.catchUp();
  await poor.follower.catchUp();
  expect(poor.directory.revision).toBe(good);
  expect(answers(poor)).toEqual(['Briefly.', 'Briefly.']);
  expect(poor.follower.newest?.revision).toBe(control.directory.revision);
  expect(poor.follower.problem).toContain(
    '"guide" asks for the pool "fast", which this node does not have. Declare it',
  );
  expect(told.filter(({ msg }) => msg.startsWith('snapshot refused'))).toHaveLength(1);
  await write('guide', 'Slowly.');
  await control.publisher.reload();
  await poor.follower.catchUp();
  expect(answers(poor)).toEqual(['Slowly.', 'Quickly.']);
  expect(poor.follower.problem).toBeUndefined();
});

test('a release whose tool needs a credential that the node has not for that tenant is more than it can serve', async () => {
  await write('guide', 'Briefly.');
  const control = aNode([tenantOf(['guide'])]);
  await control.publisher.reload();
  const { release } = await served(control, 'guide');
  const policy = { timeoutMs: 1, resultBytesMax: 1, ratePerMinute: 1, idempotent: true, confirm: false };
  const tools: Release['tools'] = [
    {
      kind: 'mcp',
      label: 'desk',
      url: 'https://desk.example/mcp',
      headers: {},
      authorisation: 'service',
      credential: 'desk',
      tools: [{ name: 'seat', policy }],
    },
  ];
  const means: NodeMeans = {
    pools: ['default'],
    embeddings: [],
    credentialsOf: (tenant) => (tenant === north ? ['desk'] : []),
  };
  expect(lackOf(means, north, { ...release, tools })).toBeUndefined();
  expect(lackOf(means, 'south' as TenantId, { ...release, tools })).toContain('the tool credential "desk"');
});

test('what a newer version adds to a snapshot is left out; a form that cannot be read is refused', async () => {
  await write('guide', 'Briefly.');
  const [control, reader] = [aNode([tenantOf(['guide'])]), aNode()];
  await control.publisher.reload();
  const published = JSON.parse((await store.system.snapshot())!.content) as Record<string, unknown>;
  const newer = JSON.stringify(addTo(published), undefined, 1);
  const publish = (content: string) =>
    store.system.publishSnapshot({ digest: randomBytes(8).toString('hex'), content, publishedBy: newId('node') });
  const { revision } = await publish(newer);
  await reader.follower.catchUp();
  expect(reader.directory.revision).toBe(revision);
  expect(reader.directory.list(north)).toEqual(control.directory.list(north));
  for (const content of ['{"tenants":{"north":1}}', 'not JSON', '{"tenants":[{"id":"north"}]}']) {
    await publish(content);
    await reader.follower.catchUp();
    expect(reader.directory.revision).toBe(revision);
    expect(reader.follower.problem).toContain('Update this node.');
  }
});

/** A field of a later day in every object. */
function addTo(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(addTo);
  if (typeof value !== 'object' || value === null) return value;
  const grown = Object.entries(value).map(([name, inner]) => [name, addTo(inner)]);
  return { ...Object.fromEntries(grown), ofLaterDay: { n: 1 } };
}

test('a release that is not in the store, or cannot be read, is a reason to stay with what serves', async () => {
  await write('guide', 'Briefly.');
  const [control, reader] = [aNode([tenantOf(['guide'])]), aNode()];
  await control.publisher.reload();
  await reader.follower.catchUp();
  const { content } = (await store.system.snapshot())!;
  const absent = content.replace(/sha256:[0-9a-f]{64}/u, `sha256:${'0'.repeat(64)}`);
  await store.system.publishSnapshot({ digest: 'absent', content: absent, publishedBy: newId('node') });
  await reader.follower.catchUp();
  expect(reader.follower.problem).toContain('is not in the store. Publish it again from its folder.');
  expect(answers(reader)).toEqual(['Briefly.']);
});

test('what the store has of a snapshot holds names and settings, and nothing that an assistant says', async () => {
  await write('guide', 'A very private way of answering.');
  await aNode([tenantOf(['guide'])]).publisher.reload();
  const { content } = (await store.system.snapshot())!;
  expect(content).toContain('"guide"');
  expect(content).not.toContain('private');
});

test('a start whose folders do not hold publishes nothing', async () => {
  await write('guide', 'Briefly.');
  await writeFile(join(folder, 'guide/assistant.yaml'), 'name: other');
  const node = aNode([tenantOf(['guide'])]);
  expect((await node.publisher.load()).rejected).toHaveLength(1);
  expect(await store.system.snapshotRevision()).toBe(0);
});

test('a node is listed while it is there, and not after it has left', async () => {
  const owner = newId('node');
  let state: NodeReport['state'] = 'serving';
  const presence = await openPresence({
    system: store.system,
    report: () => aReport(owner, { state }),
    telemetry,
    everyMs: 60_000,
  });
  expect((await listNodes(store.system)).nodes).toMatchObject([{ id: owner, state: 'serving' }]);
  state = 'draining';
  await presence.beat();
  expect((await listNodes(store.system)).nodes).toMatchObject([{ id: owner, state: 'draining' }]);
  await presence[Symbol.asyncDispose]();
  expect((await listNodes(store.system)).nodes).toEqual([]);
});

test('an outage is told once, and once more after it went well in between', async () => {
  const outage = openOutage(telemetry, 'putNode');
  const fail = () => Promise.reject(new UsherError('storage_unavailable', 'Away.'));
  expect(await outage.during(fail)).toBe(false);
  await outage.during(fail);
  expect(told.filter(({ operation }) => operation === 'putNode')).toHaveLength(1);
  expect(await outage.during(async () => undefined)).toBe(true);
  await outage.during(fail);
  expect(told.filter(({ operation }) => operation === 'putNode')).toHaveLength(2);
});
