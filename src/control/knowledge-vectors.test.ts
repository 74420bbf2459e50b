import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#base';
import type { TenantId } from '#access';
import { openOpenAiEmbeddings, type EmbeddingBackend } from '#backend';
import { assistantSchema, type Passage, type Release, type ReleaseDigest } from '#release';
import type { Store } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openTelemetry, type Telemetry } from '#telemetry';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { openRootKeys, openVault, type Vault } from '#vault';
import { KnowledgeVectors } from './knowledge-vectors.ts';
import { ReleaseArchive } from './release-archive.ts';

const north = 'north' as TenantId;

let folder: string;
let store: Store;
let vault: Vault;
let telemetry: Telemetry;
let simulator: ModelSimulator;
let opened: AsyncDisposableStack;
let told: { readonly msg: string; readonly done?: number; readonly total?: number }[];
/** Added to the time of day, so that waiting needs no time. */
let aheadMs: number;

beforeEach(async () => {
  opened = new AsyncDisposableStack();
  folder = await mkdtemp(join(tmpdir(), 'usher-vectors-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  const roots = await openRootKeys({ dataDir: folder, given: [randomBytes(32)], hasTenantKeys: false });
  vault = openVault({ keys: store.system, roots });
  told = [];
  telemetry = await openTelemetry({
    logLevel: 'debug',
    logTo: { write: (line) => void told.push(JSON.parse(line) as (typeof told)[number]) },
    otel: false,
    serviceName: 'usher',
    version: 'test',
  });
  simulator = opened.use(await startModelSimulator());
  aheadMs = 0;
});
afterEach(async () => {
  await opened.disposeAsync();
  await telemetry.close();
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

function aModel(change: { readonly name?: string; readonly model?: string } = {}): EmbeddingBackend {
  const name = change.name ?? 'small';
  const options = {
    kind: 'openai-compatible' as const,
    name,
    model: change.model ?? 'simulated',
    url: simulator.baseUrl,
    batchTexts: 256,
    timeoutMs: 5000,
  };
  return opened.adopt(openOpenAiEmbeddings({ ...options, apiKey: undefined }), (backend) => backend.close());
}

/** A node with these embedding models over the one store. */
function aNode(
  models: readonly EmbeddingBackend[],
  waits: { retryMs?: number; publishMs?: number } = {},
): ReleaseArchive {
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  const rooms = { store, vault, clock, telemetry };
  const byName = new Map(models.map((model) => [model.name, model]));
  const vectors = new KnowledgeVectors(rooms, byName, waits);
  opened.adopt(vectors, (made) => made.close());
  return new ReleaseArchive(rooms, vectors);
}

function aRelease(texts: readonly string[], embeddings: string | null = 'small'): Release {
  const knowledge = { passages: 3, ...(embeddings === null ? {} : { embeddings }) };
  const { spec } = assistantSchema.parse({ name: 'guide', knowledge });
  const passages = texts.map((text, at): Passage => ({ source: `${at}.md`, title: `Part ${at}`, text }));
  const digest = `sha256:${randomBytes(32).toString('hex')}` as ReleaseDigest;
  return { digest, spec, instructions: 'Be brief.', passages };
}

const embeddedTexts = async (): Promise<readonly string[]> =>
  (await simulator.log()).requests.flatMap(({ body }) => (body as { input: string[] }).input);

const rows = ['The cloakroom is in the foyer.', 'Dogs wait outside.', 'The bar opens at six.'];
// No word of it stands in the knowledge but those that the index leaves out: only vectors can find it.
const wordless = 'is the in the';

test('a passage that shares no word with a question is found by its vector, and by no other way', async () => {
  const released = aRelease(rows);
  const { search } = await aNode([aModel()]).publish(north, released);
  expect((await search(wordless, 1)).map(({ text }) => text)).toEqual([rows[0]]);
  const lacking = await aNode([]).open(north, 'guide', released.digest);
  expect(await lacking!.search(wordless, 1)).toEqual([]);
  expect(await lacking!.search('dogs', 1)).toHaveLength(1);
});

test('a text is embedded once, also in the next release and at the next start; a changed one again', async () => {
  await aNode([aModel()]).publish(north, aRelease(rows));
  expect(await embeddedTexts()).toHaveLength(3);
  const released = aRelease([...rows.slice(0, 2), 'The bar opens at seven.', 'The bar opens at seven.']);
  await aNode([aModel()]).publish(north, released);
  expect((await embeddedTexts()).slice(3)).toEqual([
    'Part 2\n\nThe bar opens at seven.',
    'Part 3\n\nThe bar opens at seven.',
  ]);
  const reader = await aNode([aModel()]).open(north, 'guide', released.digest);
  expect(await reader!.search(wordless, 1)).toHaveLength(1);
  expect((await embeddedTexts()).slice(5)).toEqual([wordless]);
});

test('vectors of another model, or of another tenant, are not used', async () => {
  await aNode([aModel()]).publish(north, aRelease(rows));
  await aNode([aModel({ model: 'other' })]).publish(north, aRelease(rows));
  await aNode([aModel()]).publish('south' as TenantId, aRelease(rows));
  expect(await embeddedTexts()).toHaveLength(9);
});

test('a release without an embedding model asks for no vectors', async () => {
  const { search } = await aNode([aModel()]).publish(north, aRelease(rows, null));
  expect(await search('dogs', 1)).toHaveLength(1);
  expect(await embeddedTexts()).toEqual([]);
});

test('while the model is away the release serves by words; its vectors come at a later try, on every node', async () => {
  await simulator.control({ do: 'listen', on: false });
  const released = aRelease(rows);
  const { search } = await aNode([aModel()], { retryMs: 20 }).publish(north, released);
  const reader = (await aNode([aModel()]).open(north, 'guide', released.digest))!;
  for (const found of [await search('dogs', 1), await reader.search('dogs', 1)]) expect(found).toHaveLength(1);
  expect(told.find(({ msg }) => msg.startsWith('knowledge not embedded'))).toMatchObject({
    assistant: 'guide',
    model: 'small',
    missing: 3,
    reason: expect.stringContaining('small') as string,
  });
  await simulator.control({ do: 'listen', on: true });
  await expect.poll(() => told.some(({ msg }) => msg === 'knowledge embedded')).toBe(true);
  aheadMs += 60_000;
  for (const served of [search, reader.search]) {
    await served('dogs', 1);
    await expect.poll(async () => (await served(wordless, 1)).length).toBe(1);
  }
});

test('a release does not wait for a model that is slow; what it still makes is used once it is there', async () => {
  await simulator.planAll('[[sim:hang]]');
  const { search } = await aNode([aModel()], { publishMs: 50 }).publish(north, aRelease(rows));
  expect(await search('dogs', 1)).toHaveLength(1);
  await simulator.clear();
  await simulator.control({ do: 'release' });
  await expect.poll(() => told.some(({ msg }) => msg === 'knowledge embedded')).toBe(true);
  aheadMs += 60_000;
  await search('dogs', 1);
  await expect.poll(async () => (await search(wordless, 1)).length).toBe(1);
});

test('a question whose vector does not come in time is answered by words, and the next ones do not wait', async () => {
  const { search } = await aNode([aModel()]).publish(north, aRelease(rows));
  await simulator.planAll('[[sim:hang]]');
  expect(await search('dogs', 1)).toHaveLength(1);
  const asked = (await simulator.log()).requests.length;
  expect(await search('dogs', 1)).toHaveLength(1);
  expect((await simulator.log()).requests).toHaveLength(asked);
  await simulator.clear();
  aheadMs += 60_000;
  expect(await search(wordless, 1)).toHaveLength(1);
});

test('a question that the model refuses is answered by words, and changes nothing for the next', async () => {
  const { search } = await aNode([aModel()]).publish(north, aRelease(rows));
  await simulator.planAll('[[sim:context_length_exceeded]]');
  expect(await search('dogs', 1)).toHaveLength(1);
  await simulator.clear();
  expect(await search(wordless, 1)).toHaveLength(1);
});

test('progress is told for a large folder, and the texts go in batches', async () => {
  const many = Array.from({ length: 600 }, (_, at) => `Seat ${at} is in row ${at % 40}.`);
  await aNode([aModel()]).publish(north, aRelease(many));
  const progress = told.filter(({ msg }) => msg === 'knowledge embedded');
  expect(progress.map(({ done, total }) => [done, total])).toEqual([
    [256, 600],
    [512, 600],
    [600, 600],
  ]);
});

test('neither a text nor its vector lies in the clear in the database, nor a digest that a guess could be checked by', async () => {
  const vector = (await aModel().embed([`Part 0\n\n${rows[0]}`], {}, new AbortController().signal)).vectors[0]!;
  await aNode([aModel()]).publish(north, aRelease(rows));
  await store.close();
  const bytes = await readFile(join(folder, 'usher.db'));
  expect(bytes.includes(Buffer.from(vector.buffer))).toBe(false);
  expect(bytes.includes(Buffer.from('cloakroom'))).toBe(false);
  expect(bytes.includes(Buffer.from('simulated'))).toBe(true);
});
