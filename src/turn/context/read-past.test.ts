import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newId, type Id } from '#base';
import type { SubjectId, TenantId } from '#access';
import { noUsage, type Item, type MessageItem } from '#conversation';
import type { ReleaseDigest } from '#release';
import type { ItemRow, Store, TenantStore } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openRootKeys, openVault, type SubjectVault } from '#vault';
import { newCompaction } from './compact.ts';
import { readPast } from './read-past.ts';
import { sealItem } from '../seal-items.ts';

const tenant = 'north' as TenantId;
const subject = 'ophelia' as SubjectId;

let folder: string;
let store: Store;
let within: TenantStore;
let vault: SubjectVault;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-past-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  within = store.reach({ tenant, subject: null });
  const roots = await openRootKeys({ dataDir: folder, given: [randomBytes(32)], hasTenantKeys: false });
  vault = await openVault({ keys: store.system, roots }).subject(tenant, subject);
});
afterAll(async () => {
  await store?.close();
  await rm(folder, { recursive: true, force: true });
});

const says = (text: string): MessageItem => ({
  kind: 'message',
  id: newId('message'),
  role: 'user',
  content: [{ type: 'text', text }],
  status: 'completed',
});

const summary = { text: 'She wants the aisle.', standing: [], recent: [says('recent')] };

async function conversationOf(items: readonly Item[]): Promise<{ id: Id<'conversation'> }> {
  const id = newId('conversation');
  const unnamed = { assistant: null, release: null, title: null, metadata: null };
  await within.createConversation({ ...unnamed, id, subject, createdAtMs: 1 }, []);
  for (let from = 0; from < items.length; from += 1000) {
    const sealed = items.slice(from, from + 1000).map((item) => sealItem(vault, item));
    await within.appendItems(id, sealed, 1);
  }
  return { id };
}

/** Turns that follow each other, each with these items as its input; answers the last. */
async function chainOf(turns: readonly (readonly Item[])[]): Promise<Id<'turn'>> {
  let previous: Id<'turn'> | null = null;
  for (const items of turns) {
    const id = newId('turn');
    const fixed = {
      subject,
      conversation: null,
      assistant: 'guide',
      environment: 'production',
      release: `sha256:${'a'.repeat(64)}` as ReleaseDigest,
      settings: vault.seal({ table: 'turns', row: id }, '{}'),
      userAuthorisation: null,
      startedAtMs: 1,
      owner: newId('node'),
      leaseMs: 60_000,
      background: false,
      queued: false,
      completion: false,
      repeats: { idempotency: null, body: null },
    };
    await within.beginTurn(
      { ...fixed, id, previous },
      items.map((item) => sealItem(vault, item)),
    );
    const outcome = { state: 'completed', reason: 'stop' } as const;
    await within.finishTurn(id, 1, { outcome, usage: noUsage, backend: null, finishedAtMs: 2, isHeard: true }, []);
    previous = id;
  }
  return previous!;
}

/** The store, and how many rows were read of it. */
function counted(): { readonly from: TenantStore; rows: number } {
  const seen = {
    rows: 0,
    from: Object.create(within, {
      items: {
        value: async (...args: Parameters<TenantStore['items']>): Promise<readonly ItemRow[]> => {
          const rows = await within.items(...args);
          seen.rows += rows.length;
          return rows;
        },
      },
    }) as TenantStore,
  };
  return seen;
}

const textsOf = (items: readonly Item[]): (string | undefined)[] =>
  items.map((item) => (item.kind === 'message' && item.content[0]?.type === 'text' ? item.content[0].text : item.kind));

const asked = (conversation: { id: Id<'conversation'> } | undefined, previous?: Id<'turn'>) => ({
  id: newId('turn'),
  conversation,
  request: { previous },
});

test('of ten thousand items those are read that the newest compaction does not cover, and no page more', async () => {
  const items = Array.from({ length: 10_000 }, (_, nth) => says(`item ${nth}`));
  const older = newCompaction(vault, { ...summary, text: 'older' }, items[9000]!.id);
  const newest = newCompaction(vault, summary, items[9989]!.id);
  const conversation = await conversationOf([
    ...items.slice(0, 9500),
    older,
    ...items.slice(9500),
    newest,
    says('after'),
  ]);
  const seen = counted();
  const past = await readPast(seen.from, asked(conversation), vault, {
    budgetTokens: 1_000_000,
    outputTokensMax: Infinity,
  });
  expect(past.summary).toEqual(summary);
  expect(textsOf(past.items)).toEqual([...textsOf(items.slice(9990)), 'after']);
  expect(seen.rows).toBe(100);
});

test('without a compaction as much is read as the budget is worth', async () => {
  const conversation = await conversationOf(Array.from({ length: 1000 }, (_, nth) => says(`item ${nth}`)));
  const seen = counted();
  const past = await readPast(seen.from, asked(conversation), vault, { budgetTokens: 900, outputTokensMax: Infinity });
  expect(past.summary).toBeUndefined();
  expect(textsOf(past.items).at(-1)).toBe('item 999');
  expect(seen.rows).toBe(200);
});

const all = { budgetTokens: 1000, outputTokensMax: Infinity };

test('a compaction that came from a caller holds what it needs itself', async () => {
  const brought = newCompaction(vault, summary, null);
  const past = await readPast(within, asked(await conversationOf([says('one'), brought, says('two')])), vault, all);
  expect(past.summary).toEqual(summary);
  expect(textsOf(past.items)).toEqual(['recent', 'two']);
});

test('a compaction that covers a part of what a caller’s holds is followed by the rest', async () => {
  const [covered, rest, next] = ['covered', 'rest', 'next'].map(says);
  const brought = newCompaction(vault, { ...summary, recent: [says('older'), covered!, rest!] }, null);
  const newer = newCompaction(vault, { ...summary, text: 'newer', recent: [rest!, next!] }, covered!.id);
  const conversation = await conversationOf([says('before'), brought, next!, newer, says('after')]);
  const past = await readPast(within, asked(conversation), vault, all);
  expect(past.summary?.text).toBe('newer');
  expect(textsOf(past.items)).toEqual(['rest', 'next', 'after']);
});

test('what was deleted comes back out of no compaction, also where the last item that it covers is gone', async () => {
  const [covered, kept, gone, question, after] = ['covered', 'kept', 'gone', 'question', 'after'].map(says);
  const recent = [kept!, gone!, question!];
  const compaction = newCompaction(vault, { ...summary, recent }, covered!.id);
  const conversation = await conversationOf([says('older'), kept!, question!, compaction, after!]);
  const past = await readPast(within, asked(conversation), vault, all);
  expect(past.summary?.text).toBe(summary.text);
  expect(textsOf(past.items)).toEqual(['kept', 'question', 'after']);
});

test('a chain is read back to its newest compaction, however many turns ago', async () => {
  const turns = Array.from({ length: 130 }, (_, nth) => [says(`turn ${nth}`)] as Item[]);
  turns[5]!.push(newCompaction(vault, summary, turns[3]![0]!.id));
  const past = await readPast(within, asked(undefined, await chainOf(turns)), vault, {
    budgetTokens: 100_000,
    outputTokensMax: Infinity,
  });
  expect(past.summary).toEqual(summary);
  expect(textsOf(past.items)).toEqual(turns.slice(4).map((_, nth) => `turn ${nth + 4}`));
});
