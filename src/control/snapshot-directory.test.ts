import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { newId, systemClock, UsherError } from '#base';
import type { TenantId } from '#access';
import type { AssistantConfig, TenantConfig } from '#config';
import type { ReleaseDigest, Target } from '#release';
import type { Store } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openTelemetry, type Telemetry } from '#telemetry';
import { openRootKeys, openVault, type Vault } from '#vault';
import { openRelease } from './publish-release.ts';
import { SnapshotFollower } from './follow-snapshots.ts';
import { KnowledgeVectors } from './knowledge-vectors.ts';
import { FolderLoader, type FolderRooms, type Reload } from './load-folders.ts';
import type { NodeMeans } from './node-means.ts';
import { FolderPublisher } from './publish-folders.ts';
import { ReleaseArchive } from './release-archive.ts';
import { SnapshotDirectory } from './snapshot-directory.ts';
import { watchAssistants } from './watch-assistants.ts';

const template = fileURLToPath(new URL('../../examples/template/', import.meta.url));
const north = 'north' as TenantId;
const south = 'south' as TenantId;

let folder: string;
let store: Store;
let vault: Vault;
type Told = Record<string, unknown> & { readonly msg: string };
let told: Told[];
let rooms: FolderRooms & { telemetry: Telemetry };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-directory-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  const roots = await openRootKeys({ dataDir: folder, given: [randomBytes(32)], hasTenantKeys: false });
  vault = openVault({ keys: store.system, roots });
  told = [];
  rooms = {
    store,
    vault,
    clock: systemClock,
    telemetry: await openTelemetry({
      logLevel: 'debug',
      logTo: { write: (line) => void told.push(JSON.parse(line) as Told) },
      otel: false,
      serviceName: 'usher',
      version: 'test',
    }),
  };
  await makeFolder('a', 'Answer briefly.');
  await makeFolder('b', 'Answer at length.');
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

async function makeFolder(name: string, instructions: string): Promise<void> {
  await cp(template, join(folder, name), { recursive: true });
  await writeFile(join(folder, name, 'instructions.md'), instructions);
}

/** `{ production: { a: 9, b: 1 } }`: environments with the shares of their folders. */
function assistant(environments: Record<string, Record<string, number>>): AssistantConfig {
  return {
    name: 'my-assistant',
    environments: new Map(
      Object.entries(environments).map(([name, sides]) => [
        name,
        {
          salt: `my-assistant/${name}`,
          sides: Object.entries(sides).map(([side, share]) => ({ folder: join(folder, side), share })),
        },
      ]),
    ),
  };
}

function tenant(id: TenantId, assistants: readonly AssistantConfig[]): TenantConfig {
  return { id, assistants, corsOrigins: [], limits: { requestsPerMinute: 100, concurrency: 10 } };
}

/** A node over the store: reads folders where it is given tenants, and serves the newest snapshot. */
function aNode(tenants: readonly TenantConfig[]) {
  const { system } = store;
  const owner = newId('node');
  const archive = new ReleaseArchive(rooms, new KnowledgeVectors(rooms, new Map()));
  const means: NodeMeans = { pools: ['default'], embeddings: [], credentialsOf: () => [] };
  const directory = new SnapshotDirectory(rooms, archive, means);
  const { clock, telemetry } = rooms;
  const follower = new SnapshotFollower({ system, directory, clock, telemetry });
  const loader = new FolderLoader(rooms, archive, tenants, means);
  const publisher = new FolderPublisher({ system, loader, follower, owner, telemetry });
  return { owner, directory, follower, publisher };
}

/** A control node whose folders serve. */
async function open(environments: Record<string, Record<string, number>>) {
  const node = aNode([tenant(north, [assistant(environments)]), tenant(south, [])]);
  return { ...node, rejected: (await node.publisher.reload()).rejected };
}

async function refusal(promise: Promise<unknown>): Promise<UsherError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UsherError);
  return error as UsherError;
}

test('a bare name means production, or the first environment where there is none', async () => {
  const { directory } = await open({ staging: { a: 1 }, production: { b: 1 } });
  expect(await directory.resolve(north, 'my-assistant')).toMatchObject({
    kind: 'environment',
    environment: 'production',
  });
  expect(await directory.resolve(north, 'my-assistant@staging')).toMatchObject({ environment: 'staging' });
  const lone = await open({ preview: { a: 1 }, staging: { a: 1 } });
  expect(await lone.directory.resolve(north, 'my-assistant')).toMatchObject({ environment: 'preview' });
});

test('a release is named by its digest or the first eight digits of it', async () => {
  const { directory } = await open({ production: { a: 1 } });
  const served = await directory.choose(await directory.resolve(north, 'my-assistant'), 'u');
  const { digest } = served.release;
  const hex = digest.slice('sha256:'.length);
  for (const version of [digest, hex, hex.slice(0, 8), `sha256:${hex.slice(0, 12)}`, hex.slice(0, 9).toUpperCase()]) {
    const target = await directory.resolve(north, `my-assistant@${version}`);
    expect(target).toEqual({ kind: 'release', tenant: north, assistant: 'my-assistant', digest });
    expect((await directory.choose(target, 'u')).environment).toBe('pinned');
  }
});

test.each([
  ['my-asistant', 'There is no assistant "my-asistant". Did you mean "my-assistant"?'],
  ['zzz', 'There is no assistant "zzz". Assistants here: my-assistant.'],
  ['my-assistant@prodution', 'Did you mean "production"?'],
  ['my-assistant@', 'has no environment "", and no release is named so. Environments: production.'],
  ['my-assistant@abcdef0', 'has no environment "abcdef0"'],
  ['my-assistant@00000000', 'has no release sha256:00000000. Leave the digest out'],
  [`my-assistant@sha256:${'0'.repeat(65)}`, 'has no environment'],
  ['constructor', 'There is no assistant "constructor"'],
])('a name that means nothing is refused with the nearest that does: %s', async (name, told) => {
  const { directory } = await open({ production: { a: 1 } });
  const error = await refusal(directory.resolve(north, name));
  expect(error).toMatchObject({ code: 'model_not_found', param: 'model' });
  expect(error.message).toContain(told);
});

test('a prefix of two releases is refused as ambiguous', async () => {
  const { directory } = await open({ production: { a: 1 } });
  const keys = await vault.subject(north, null);
  for (const last of ['1', '2']) {
    const digest = `sha256:${'ab'.repeat(31)}a${last}` as ReleaseDigest;
    const sealed = keys.seal({ table: 'releases', row: digest }, '{}');
    await store.reach({ tenant: north, subject: null }).putRelease(digest, 'my-assistant', sealed, 1);
  }
  const error = await refusal(directory.resolve(north, 'my-assistant@abababab'));
  expect(error.message).toContain('Give more digits');
});

test('another tenant sees neither the assistant nor its releases', async () => {
  const { directory } = await open({ production: { a: 1 } });
  const { digest } = (await directory.choose(await directory.resolve(north, 'my-assistant'), 'u')).release;
  expect((await refusal(directory.resolve(south, 'my-assistant'))).message).not.toContain('Did you mean');
  expect((await refusal(directory.byDigest(south, 'my-assistant', 'production', digest))).code).toBe('model_not_found');
  expect(await openRelease(rooms, south, 'my-assistant', digest)).toBeUndefined();
  expect(directory.list(south)).toEqual([]);
});

test('a release is not served under the name of another assistant', async () => {
  const { directory } = await open({ production: { a: 1 } });
  const { digest } = (await directory.choose(await directory.resolve(north, 'my-assistant'), 'u')).release;
  expect((await refusal(directory.byDigest(north, 'other', 'production', digest))).code).toBe('model_not_found');
});

test('two releases serve side by side; a unit keeps its side, and shares are kept', async () => {
  const { directory } = await open({ production: { a: 3, b: 1 } });
  const target = await directory.resolve(north, 'my-assistant');
  let brief = 0;
  for (let unit = 0; unit < 2000; unit += 1) {
    const first = await directory.choose(target, `user-${unit}`);
    const second = await directory.choose(target, `user-${unit}`);
    expect(second.release.digest).toBe(first.release.digest);
    if (first.release.instructions === 'Answer briefly.') brief += 1;
  }
  // 2000 draws at 3/4: six standard deviations are 116.
  expect(Math.abs(brief - 1500)).toBeLessThan(116);
  expect(directory.list(north)[0]?.environments[0]?.releases).toHaveLength(2);
});

test('a release is read back from the store after its folder changed, also by a new process', async () => {
  const { directory, publisher } = await open({ production: { a: 1 } });
  const before = await directory.choose(await directory.resolve(north, 'my-assistant'), 'u');
  await writeFile(join(folder, 'a/instructions.md'), 'Answer in rhyme.');
  expect((await publisher.reload()).loaded).toHaveLength(1);
  const after = await directory.choose(await directory.resolve(north, 'my-assistant'), 'u');
  expect(after.release.instructions).toBe('Answer in rhyme.');
  const { directory: restarted } = await open({ production: { a: 1 } });
  const pinned = await restarted.byDigest(north, 'my-assistant', 'production', before.release.digest);
  expect(pinned.release).toEqual(before.release);
  expect(await pinned.search('How do I change how it answers?', 3)).toEqual(
    await before.search('How do I change how it answers?', 3),
  );
});

test('what the store keeps of a release is sealed', async () => {
  const { directory } = await open({ production: { a: 1 } });
  const { digest } = (await directory.choose(await directory.resolve(north, 'my-assistant'), 'u')).release;
  const row = await store.reach({ tenant: north, subject: null }).release(digest);
  expect(Buffer.from(row!.content).includes('Answer briefly')).toBe(false);
});

test('a bad edit keeps the last good release and tells the problems; the mended one is told again', async () => {
  const { directory, publisher } = await open({ production: { a: 1 } });
  const good = await readFile(join(folder, 'a/assistant.yaml'), 'utf8');
  const before = await directory.choose(await directory.resolve(north, 'my-assistant'), 'u');
  await writeFile(join(folder, 'a/assistant.yaml'), good.replace('temperature', 'temprature'));
  const { loaded, rejected } = await publisher.reload();
  expect(loaded).toEqual([]);
  expect(rejected).toMatchObject([{ assistant: 'my-assistant', problems: [{ nearest: 'temperature' }] }]);
  const why = told.find(({ msg }) => msg.startsWith('release rejected'))?.['problems'];
  expect(String(why)).toMatch(/assistant\.yaml:\d+:3 {2}unknown key "temprature"; did you mean "temperature"\?/u);
  expect(await directory.choose(await directory.resolve(north, 'my-assistant'), 'u')).toBe(before);
  await writeFile(join(folder, 'a/assistant.yaml'), good);
  expect((await publisher.reload()).loaded).toMatchObject([{ digest: before.release.digest }]);
  expect(await publisher.reload()).toEqual({ loaded: [], rejected: [] });
});

test('a split changes as a whole or not at all', async () => {
  const { directory, publisher } = await open({ production: { a: 1, b: 1 } });
  const before = directory.list(north);
  await writeFile(join(folder, 'a/instructions.md'), 'Answer in rhyme.');
  await writeFile(join(folder, 'b/instructions.md'), '');
  expect((await publisher.reload()).rejected).toHaveLength(1);
  expect(directory.list(north)).toEqual(before);
});

test('an assistant that does not hold at the start is rejected and does not serve', async () => {
  await writeFile(join(folder, 'a/assistant.yaml'), 'name: other');
  const { directory, rejected } = await open({ production: { a: 1 }, staging: { b: 1 } });
  expect(rejected.map(({ environment }) => environment)).toEqual(['production']);
  expect(await directory.resolve(north, 'my-assistant')).toMatchObject({ environment: 'staging' });
});

test('many first reads of one pinned release are one load', async () => {
  const { directory } = await open({ production: { a: 1 } });
  const { release } = await directory.choose(await directory.resolve(north, 'my-assistant'), 'u');
  const { directory: other } = await open({ production: { b: 1 } });
  const target: Target = { kind: 'release', tenant: north, assistant: 'my-assistant', digest: release.digest };
  const served = await Promise.all(Array.from({ length: 20 }, () => other.choose(target, 'u')));
  expect(new Set(served.map((each) => each.release)).size).toBe(1);
});

test('a save is picked up while watching, a bad one is told, and the watch ends when disposed', async () => {
  const { directory, publisher } = await open({ production: { a: 1 } });
  const reloads: Reload[] = [];
  const failures: unknown[] = [];
  const watching = await watchAssistants(publisher, {
    onReload: (reload) => reloads.push(reload),
    onFailure: (error) => failures.push(error),
    debounceMs: 20,
  });
  try {
    await writeFile(join(folder, 'a/instructions.md'), 'Answer in rhyme.');
    await expect.poll(() => reloads.at(-1)?.loaded.length, { timeout: 20_000 }).toBe(1);
    await writeFile(join(folder, 'a/assistant.yaml'), 'nam: my-assistant\n');
    await expect.poll(() => reloads.at(-1)?.rejected.length, { timeout: 20_000 }).toBe(1);
    const { release } = await directory.choose(await directory.resolve(north, 'my-assistant'), 'u');
    expect(release.instructions).toBe('Answer in rhyme.');
  } finally {
    await watching[Symbol.asyncDispose]();
  }
  expect(failures).toEqual([]);
  const { length } = reloads;
  await writeFile(join(folder, 'a/instructions.md'), 'Answer in verse.');
  await publisher.reload();
  expect(reloads).toHaveLength(length);
});
