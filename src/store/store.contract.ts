import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newId, type Id } from '#base';
import type { SubjectId, TenantId } from '#access';
import type { Usage } from '#conversation';
import type { ReleaseDigest } from '#release';
import type { Sealed, WrappedKey } from '#vault';
import {
  pageBytesMax,
  type ApiKeyRow,
  type AuditRecord,
  type EventBatch,
  type NewItem,
  type NewSnapshot,
  type NewTurn,
  type NodeReport,
  type QueuedTurn,
  type ReadyRequest,
  type Store,
  type TenantStore,
  type TurnFinish,
  type HandoverRow,
  type UnstoredTurn,
  type PassageVectorRow,
  type PageRequest,
} from './store.ts';

/** Any bytes: what is sealed is of no concern to the store. */
export function sealed(text = ''): Sealed {
  return Buffer.concat([Buffer.from(text), randomBytes(8)]) as unknown as Sealed;
}

export function aTenant(): TenantId {
  return `tenant-${randomBytes(6).toString('hex')}` as TenantId;
}

export function anItem(): NewItem {
  return { id: newId('message'), content: sealed() };
}

export const digest = `sha256:${'a'.repeat(64)}` as ReleaseDigest;
const otherDigest = `sha256:${'b'.repeat(64)}` as ReleaseDigest;
export const usage: Usage = {
  inputTokens: 11,
  cachedInputTokens: 5,
  outputTokens: 7,
  reasoningTokens: 2,
  estimated: true,
};

export function aTurn(change: Partial<NewTurn> = {}): NewTurn {
  return {
    id: newId('turn'),
    subject: 'ann' as SubjectId,
    conversation: null,
    previous: null,
    assistant: 'guide',
    environment: 'production',
    release: digest,
    settings: sealed(),
    userAuthorisation: null,
    startedAtMs: 2000,
    owner: newId('node'),
    leaseMs: 60_000,
    background: false,
    completion: false,
    queued: false,
    repeats: { idempotency: null, body: null },
    ...change,
  };
}

export function aQueued(change: Partial<QueuedTurn> = {}): QueuedTurn {
  const {
    owner: _owner,
    leaseMs: _leaseMs,
    startedAtMs: _startedAtMs,
    queued: _queued,
    completion: _,
    ...asked
  } = aTurn();
  return { ...asked, background: true, input: sealed(), queuedAtMs: 2000, deadlineMs: null, ...change };
}

export function aFinish(change: Partial<TurnFinish> = {}): TurnFinish {
  const outcome = { state: 'completed', reason: 'stop' } as const;
  return { outcome, usage, backend: 'first', finishedAtMs: 3000, isHeard: true, ...change };
}

export function aKey(tenant: TenantId, change: Partial<ApiKeyRow> = {}): ApiKeyRow {
  return {
    id: newId('key'),
    tenant,
    name: 'app',
    prefix: 'usk_1234',
    hash: createHash('sha256').update(randomBytes(8)).digest(),
    scopes: ['talk', 'manage'],
    createdAtMs: 10,
    expiresAtMs: null,
    revokedAtMs: null,
    ...change,
  };
}

export function anAudit(tenant: TenantId, change: Partial<AuditRecord> = {}): AuditRecord {
  return { id: newId('audit'), tenant, atMs: 1, actor: 'cli', action: 'key.create', target: 'key', ...change };
}

/** Bytes as hex, so that rows of both databases compare by content. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

async function aConversation(
  store: TenantStore,
  {
    subject = 'ann' as SubjectId,
    items = [] as readonly NewItem[],
    assistant = null as string | null,
    atMs = 1000,
  } = {},
): Promise<Id<'conversation'>> {
  const id = newId('conversation');
  const release = assistant === null ? null : digest;
  const row = { id, subject, assistant, release, title: null, metadata: sealed(), createdAtMs: atMs };
  await store.createConversation(row, items);
  return id;
}

/** What every database behind the Store port promises. */
export function storeContract(open: () => Promise<Store>): void {
  let store: Store;
  beforeAll(async () => {
    store = await open();
  });
  afterAll(() => store.close());

  const ann = 'ann' as SubjectId;
  const bob = 'bob' as SubjectId;
  const ids = (rows: readonly { readonly id: string }[]) => rows.map((row) => row.id);
  const wholeTenant = (tenant = aTenant()) => store.reach({ tenant, subject: null });

  describe('a conversation', () => {
    test('comes back as it was stored', async () => {
      const tenant = wholeTenant();
      const row = {
        id: newId('conversation'),
        subject: ann,
        assistant: 'guide',
        release: digest,
        title: sealed('title'),
        metadata: null,
        createdAtMs: 1_795_000_000_123,
      };
      await tenant.createConversation(row, []);
      expect(plain(await tenant.conversation(row.id))).toEqual(plain({ ...row, updatedAtMs: row.createdAtMs }));
      expect(await tenant.conversation(newId('conversation'))).toBeUndefined();
    });

    test('is refused as a conflict under an id that is taken', async () => {
      const tenant = wholeTenant();
      const row = { id: newId('conversation'), subject: ann, assistant: null, release: null, title: null };
      await tenant.createConversation({ ...row, metadata: null, createdAtMs: 1 }, []);
      await expect(tenant.createConversation({ ...row, metadata: null, createdAtMs: 2 }, [])).rejects.toMatchObject({
        code: 'conflict',
      });
    });

    test('leaves nothing behind when one of its items cannot be stored', async () => {
      const tenant = wholeTenant();
      const item = anItem();
      const id = newId('conversation');
      const row = { id, subject: ann, assistant: null, release: null, title: null, metadata: null, createdAtMs: 1 };
      await expect(tenant.createConversation(row, [item, item])).rejects.toMatchObject({ code: 'conflict' });
      expect(await tenant.conversation(id)).toBeUndefined();
    });

    test('changes title and metadata, and nothing else', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const before = await tenant.conversation(id);
      const item = anItem();
      await tenant.appendItems(id, [item], 1000);
      const title = { content: sealed('new'), of: item.id };
      expect(await tenant.updateConversation(id, { title })).toBe(true);
      expect(plain(await tenant.conversation(id))).toEqual(plain({ ...before, title: title.content }));
      expect(await tenant.updateConversation(id, { metadata: null })).toBe(true);
      expect(plain(await tenant.conversation(id))).toEqual(plain({ ...before, title: title.content, metadata: null }));
      expect(await tenant.updateConversation(id, {})).toBe(true);
      expect(await tenant.updateConversation(newId('conversation'), { title })).toBe(false);
      expect(await tenant.updateConversation(newId('conversation'), {})).toBe(false);
    });

    test('has the title of an item for as long as that is there', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const [asked, other, answer] = [anItem(), anItem(), anItem()];
      const [turn, later] = [aTurn({ conversation: id }), aTurn({ conversation: id })];
      await tenant.beginTurn(turn, [asked, other]);
      await tenant.finishTurn(turn.id, 1, aFinish(), [answer]);
      const titleOf = async (of: NewItem) => {
        await tenant.updateConversation(id, { title: { content: sealed('title'), of: of.id } });
        return async () => (await tenant.conversation(id))?.title ?? null;
      };
      const title = await titleOf(asked);
      await tenant.deleteItem(id, other.id);
      expect(await title()).not.toBeNull();
      await tenant.deleteItem(id, asked.id);
      expect(await title()).toBeNull();
      expect(await (await titleOf(asked))()).toBeNull();
      expect(await (await titleOf(answer))()).not.toBeNull();
      await tenant.beginTurn(later, []);
      await tenant.deleteTurn(later.id);
      expect(await title()).not.toBeNull();
      await tenant.deleteTurn(turn.id);
      expect(await title()).toBeNull();
    });

    test('is listed by newest activity, page after page, only for its assistant, once it has a turn', async () => {
      const tenant = wholeTenant();
      const made: Id<'conversation'>[] = [];
      // Two share each moment, so that the order among equals matters.
      for (const atMs of [100, 100, 200, 200, 300])
        made.push(await aConversation(tenant, { assistant: 'guide', atMs }));
      await aConversation(tenant, { assistant: 'other', atMs: 400 });
      await aConversation(tenant, { atMs: 500 });
      const silent = { id: newId('conversation'), subject: ann, assistant: 'guide', release: null, title: null };
      await tenant.createConversation({ ...silent, metadata: null, createdAtMs: 600 }, []);
      await tenant.appendItems(made[0]!, [anItem()], 999);
      const whole = ids(await tenant.listConversations('guide', { limit: 100 }));
      expect(whole).toHaveLength(5);
      expect(whole[0]).toBe(made[0]);
      expect(whole[1]).toBe(made[4]);
      const paged: string[] = [];
      for (let after: Id<'conversation'> | undefined; ;) {
        const page = await tenant.listConversations('guide', { limit: 2, ...(after === undefined ? {} : { after }) });
        if (page.length === 0) break;
        paged.push(...ids(page));
        after = page.at(-1)!.id;
      }
      expect(paged).toEqual(whole);
      expect(await tenant.listConversations('guide', { limit: 9, after: newId('conversation') })).toEqual([]);
    });

    test('takes its turns, items and feedback with it when it is deleted', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant, { items: [anItem()] });
      const turn = aTurn({ conversation: id });
      await tenant.beginTurn(turn, [anItem()]);
      await tenant.putFeedback({ turn: turn.id, subject: ann, rating: 'up', comment: null, createdAtMs: 1 });
      expect(await tenant.deleteConversation(id)).toBe(true);
      expect(await tenant.deleteConversation(id)).toBe(false);
      expect(await tenant.turn(turn.id)).toBeUndefined();
      expect(await tenant.turnItems(turn.id, 'input')).toEqual([]);
      expect(await tenant.feedback(turn.id)).toBeUndefined();
      expect(await tenant.items(id, { limit: 9, order: 'oldest-first' })).toEqual([]);
      expect(await tenant.finishTurn(turn.id, 1, aFinish(), [anItem()])).toBe(false);
    });
  });

  describe('items', () => {
    test('keep their order over creation, appends and turns, and their places after a deletion', async () => {
      const tenant = wholeTenant();
      const [a, b, c, d, e, f] = [anItem(), anItem(), anItem(), anItem(), anItem(), anItem()];
      const id = await aConversation(tenant, { items: [a, b] });
      expect(await tenant.appendItems(id, [c], 1500)).toBe(true);
      const turn = aTurn({ conversation: id });
      await tenant.beginTurn(turn, [d]);
      await tenant.finishTurn(turn.id, 1, aFinish(), [e]);
      expect(await tenant.deleteItem(id, e.id)).toBe(true);
      expect(await tenant.deleteItem(id, e.id)).toBe(false);
      await tenant.appendItems(id, [f], 4000);
      const rows = await tenant.items(id, { limit: 100, order: 'oldest-first' });
      expect(rows.map((row) => [row.id, row.position, row.turn])).toEqual([
        [a.id, 1, null],
        [b.id, 2, null],
        [c.id, 3, null],
        [d.id, 4, turn.id],
        [f.id, 6, null],
      ]);
      expect(plain(rows[2]!.content)).toBe(plain(c.content));
      expect(rows.map((row) => row.createdAtMs)).toEqual([1000, 1000, 1500, 2000, 4000]);
      expect(plain(await tenant.item(id, d.id))).toEqual(plain(rows[3]));
      expect(await tenant.item(id, e.id)).toBeUndefined();
      expect(plain(await tenant.storedItem(d.id))).toEqual(plain(rows[3]));
      expect(await tenant.storedItem(e.id)).toBeUndefined();
      expect((await tenant.conversation(id))?.updatedAtMs).toBe(4000);
    });

    test('are paged both ways, and an unknown cursor answers an empty page', async () => {
      const tenant = wholeTenant();
      const made = Array.from({ length: 150 }, anItem);
      const id = await aConversation(tenant, { items: made });
      for (const order of ['oldest-first', 'newest-first'] as const) {
        const seen: string[] = [];
        for (let after: string | undefined; ;) {
          const page = await tenant.items(id, { limit: 40, order, ...(after === undefined ? {} : { after }) });
          if (page.length === 0) break;
          seen.push(...ids(page));
          after = page.at(-1)!.id;
        }
        expect(seen).toEqual(order === 'oldest-first' ? ids(made) : ids(made).toReversed());
      }
      expect(await tenant.items(id, { limit: 9, order: 'oldest-first', after: 'msg_unknown' })).toEqual([]);
      expect(await tenant.items(id, { limit: 0, order: 'oldest-first' })).toEqual([]);
    });

    test('that are large make a page shorter, the last of it going beyond what a page holds', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const turn = aTurn({ conversation: id });
      const made = Array.from({ length: 4 }, () => ({ ...anItem(), content: sealed('a'.repeat(pageBytesMax / 2)) }));
      await tenant.beginTurn(turn, made);
      const [, second, third, fourth] = ids(made);
      expect(ids(await tenant.items(id, { limit: 9, order: 'newest-first' }))).toEqual([fourth, third]);
      const rest = await tenant.items(id, { limit: 9, order: 'oldest-first', after: second! });
      expect(ids(rest)).toEqual([third, fourth]);
      expect(ids(await tenant.chainItems(turn.id, 9))).toEqual([third, fourth]);
    });

    test('are not appended to a conversation that does not exist', async () => {
      expect(await wholeTenant().appendItems(newId('conversation'), [anItem()], 1)).toBe(false);
    });

    test('that are deleted take the summaries with them that were made after them, with their events', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const aSummary = (): NewItem => ({ id: newId('compaction'), content: sealed() });
      const id = await aConversation(tenant, { items: [anItem()] });
      const asked = [anItem(), anItem(), aSummary()];
      const answers = [[aSummary(), anItem()], [anItem()], [aSummary(), anItem()]] as const;
      const made: NewTurn[] = [];
      for (const [nth, answer] of answers.entries()) {
        const turn = aTurn({ conversation: id });
        await tenant.beginTurn(turn, [asked[nth]!]);
        const events = { firstSeq: 1, lastSeq: 4, content: sealed() };
        await tenant.finishTurn(turn.id, 1, aFinish(), answer, events);
        made.push(turn);
      }
      const left = async () => ids(await tenant.items(id, { limit: 99, order: 'oldest-first' })).slice(1);
      const isTold = async (turn: NewTurn) => (await tenant.turnEvents(turn.id, -1, 9)).length > 0;
      const whole = await left();
      expect(whole).toHaveLength(8);
      // The newest answer is after all of them.
      await tenant.deleteItem(id, answers[2][1].id);
      expect(await left()).toEqual(whole.slice(0, 7));
      await tenant.deleteItem(id, asked[1]!.id);
      const without = new Set<string>([asked[1]!.id, answers[2][0].id]);
      expect(await left()).toEqual(whole.slice(0, 7).filter((one) => !without.has(one)));
      expect(await Promise.all(made.map(isTold))).toEqual([true, false, false]);
      // One that a caller brought is theirs.
      await tenant.deleteTurn(made[1]!.id);
      expect(await left()).toEqual([asked[0]!.id, ...ids(answers[0]), asked[2]!.id]);
      await tenant.deleteItem(id, asked[0]!.id);
      expect(await left()).toEqual([answers[0][1].id, asked[2]!.id]);
      expect(await isTold(made[0]!)).toBe(false);
    });

    test('go with their turn, and so do the summaries that were made after it', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const [first, second] = [aTurn({ conversation: id }), aTurn({ conversation: id })];
      const summary: NewItem = { id: newId('compaction'), content: sealed() };
      const [asked, answer] = [anItem(), anItem()];
      await tenant.beginTurn(first, [anItem()]);
      await tenant.finishTurn(first.id, 1, aFinish(), [anItem()]);
      await tenant.beginTurn(second, [asked]);
      await tenant.finishTurn(second.id, 1, aFinish(), [summary, answer]);
      await tenant.deleteTurn(first.id);
      expect(ids(await tenant.items(id, { limit: 9, order: 'oldest-first' }))).toEqual(ids([asked, answer]));
    });

    test('of two appends at once never share a place', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      await Promise.all(Array.from({ length: 20 }, () => tenant.appendItems(id, [anItem(), anItem()], 1)));
      const rows = await tenant.items(id, { limit: 100, order: 'oldest-first' });
      expect(rows.map((row) => row.position)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    });
  });

  describe('a turn', () => {
    test('comes back as begun, then as finished, with what it cost', async () => {
      const tenant = wholeTenant();
      const [question, answer] = [anItem(), anItem()];
      const turn = aTurn();
      expect(await tenant.beginTurn(turn, [question])).toBe('begun');
      const { owner: _owner, leaseMs: _leaseMs, repeats: _repeats, ...asked } = turn;
      const kept = { ...asked, epoch: 1, message: null };
      const running = { ...kept, state: 'running', reason: null, usage: null, backend: null, finishedAtMs: null };
      expect(plain(await tenant.turn(turn.id))).toEqual(plain(running));
      expect(await tenant.finishTurn(turn.id, 1, aFinish(), [answer])).toBe(true);
      const finished = { ...kept, state: 'completed', reason: 'stop', usage, backend: 'first', finishedAtMs: 3000 };
      expect(plain(await tenant.turn(turn.id))).toEqual(plain(finished));
      expect((await tenant.turnItems(turn.id, 'input')).map((row) => [row.id, row.position])).toEqual([
        [question.id, 1],
      ]);
      expect((await tenant.turnItems(turn.id, 'output')).map((row) => [row.id, row.position])).toEqual([
        [answer.id, 2],
      ]);
    });

    test('answers a stored request once, of many at once, also where that answer was deleted', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const id = await aConversation(tenant);
      const asked = aTurn({ conversation: id });
      await tenant.beginTurn(asked, []);
      const requests = [anItem(), anItem()];
      await tenant.finishTurn(asked.id, 1, aFinish(), requests);
      const answering = (...answers: readonly string[]) =>
        answers.map((answers) => Object.assign(anItem(), { answers }));
      const [one, other] = ids(requests) as [string, string];
      const begins = [answering(one, other), answering(other, one), answering(one)].map((input) =>
        tenant.beginTurn(aTurn(), input),
      );
      expect((await Promise.all(begins)).toSorted()).toEqual(['answered', 'answered', 'begun']);
      const again = aTurn({ previous: asked.id });
      expect(await tenant.beginTurn(again, answering(one))).toBe('answered');
      expect(await tenant.turn(again.id)).toBeUndefined();

      const late = anItem();
      await tenant.appendItems(id, [late], 4000);
      const answer = answering(late.id);
      const turn = aTurn({ conversation: id });
      expect(await store.reach({ tenant: tenantId, subject: bob }).beginTurn(aTurn({ subject: bob }), answer)).toBe(
        'answered',
      );
      expect(await tenant.beginTurn(turn, answer)).toBe('begun');
      await tenant.finishTurn(turn.id, 1, aFinish(), []);
      expect(await tenant.deleteItem(id, answer[0]!.id)).toBe(true);
      expect(await tenant.deleteTurn(turn.id)).toBe(true);
      expect(await tenant.beginTurn(aTurn({ conversation: id }), answering(late.id))).toBe('answered');
      expect(await tenant.beginTurn(aTurn(), answering('mcpr_none'))).toBe('answered');
    });

    test('keeps the bearer of its person until it ends, waiting or running', async () => {
      const tenant = wholeTenant();
      const turn = aTurn({ userAuthorisation: sealed() });
      await tenant.beginTurn(turn, []);
      expect(plain(await tenant.turn(turn.id))).toMatchObject(
        plain({ userAuthorisation: turn.userAuthorisation }) as object,
      );
      await tenant.finishTurn(turn.id, 1, aFinish(), []);
      expect(await tenant.turn(turn.id)).toMatchObject({ state: 'completed', userAuthorisation: null });
    });

    test('keeps the reason or the code of every outcome', async () => {
      const tenant = wholeTenant();
      const outcomes: readonly (readonly [TurnFinish['outcome'], string | null])[] = [
        [{ state: 'completed', reason: 'call' }, 'call'],
        [{ state: 'incomplete', reason: 'length' }, 'length'],
        [{ state: 'cancelled' }, null],
        [{ state: 'failed', code: 'backend_timeout', message: 'too slow' }, 'backend_timeout'],
      ];
      for (const [outcome, reason] of outcomes) {
        const turn = aTurn();
        await tenant.beginTurn(turn, []);
        await tenant.finishTurn(turn.id, 1, aFinish({ outcome, backend: null }), []);
        expect(await tenant.turn(turn.id)).toMatchObject({ state: outcome.state, reason, backend: null });
      }
    });

    test('is finished once', async () => {
      const tenant = wholeTenant();
      const turn = aTurn();
      await tenant.beginTurn(turn, []);
      const outcomes = await Promise.all([
        tenant.finishTurn(turn.id, 1, aFinish(), [anItem()]),
        tenant.finishTurn(turn.id, 1, aFinish({ outcome: { state: 'cancelled' } }), [anItem()]),
      ]);
      expect(outcomes.toSorted()).toEqual([false, true]);
      expect(await tenant.turnItems(turn.id, 'output')).toHaveLength(1);
      expect(await tenant.finishTurn(newId('turn'), 1, aFinish(), [])).toBe(false);
    });

    test('locks its conversation while it runs, and leaves no trace when it is locked out', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const first = aTurn({ conversation: id });
      expect(await tenant.beginTurn(first, [anItem()])).toBe('begun');
      const second = aTurn({ conversation: id, assistant: 'other', release: otherDigest, startedAtMs: 5000 });
      expect(await tenant.beginTurn(second, [anItem()])).toBe('locked');
      expect(await tenant.turn(second.id)).toBeUndefined();
      expect(await tenant.conversation(id)).toMatchObject({ assistant: 'guide', release: digest, updatedAtMs: 2000 });
      await tenant.finishTurn(first.id, 1, aFinish(), []);
      expect(await tenant.beginTurn(second, [anItem()])).toBe('begun');
      expect(await tenant.conversation(id)).toMatchObject({ assistant: 'guide', release: digest, updatedAtMs: 5000 });
      expect(ids(await tenant.items(id, { limit: 9, order: 'oldest-first' }))).toHaveLength(2);
    });

    test('takes the place of an item and all after it as it begins, and of nothing where it does not', async () => {
      const tenant = wholeTenant();
      const [id, other] = [await aConversation(tenant), await aConversation(tenant)];
      const said = [anItem(), anItem(), anItem()];
      await tenant.appendItems(id, said, 2000);
      await tenant.appendItems(other, [anItem()], 2000);
      const replaces = said[1]!.id;
      const first = aTurn({ conversation: other });
      await tenant.beginTurn(first, []);
      expect(await tenant.beginTurn(aTurn({ conversation: other, replaces }), [anItem()])).toBe('locked');
      await tenant.finishTurn(first.id, 1, aFinish(), []);
      expect(await tenant.beginTurn(aTurn({ conversation: other, replaces }), [])).toBe('begun');
      expect(await tenant.items(other, { limit: 9, order: 'oldest-first' })).toHaveLength(1);
      expect(await tenant.items(id, { limit: 9, order: 'oldest-first' })).toHaveLength(3);
      const again = anItem();
      expect(await tenant.beginTurn(aTurn({ conversation: id, replaces }), [again])).toBe('begun');
      const rows = await tenant.items(id, { limit: 9, order: 'oldest-first' });
      expect(rows.map((row) => [row.id, row.position])).toEqual([
        [said[0]!.id, 1],
        [again.id, 4],
      ]);
    });

    test('begins alone however many try at once', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const tries = Array.from({ length: 12 }, () => tenant.beginTurn(aTurn({ conversation: id }), [anItem()]));
      const outcomes = await Promise.all(tries);
      expect(outcomes.filter((outcome) => outcome === 'begun')).toHaveLength(1);
      expect(outcomes.filter((outcome) => outcome === 'locked')).toHaveLength(11);
      expect(await tenant.items(id, { limit: 99, order: 'oldest-first' })).toHaveLength(1);
    });

    test('begins and finishes from many callers on one conversation without getting stuck', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      let finished = 0;
      const caller = async () => {
        for (let round = 0; round < 8; round += 1) {
          const turn = aTurn({ conversation: id });
          if ((await tenant.beginTurn(turn, [anItem()])) !== 'begun') continue;
          expect(await tenant.finishTurn(turn.id, 1, aFinish(), [anItem()])).toBe(true);
          finished += 1;
        }
      };
      await Promise.all(Array.from({ length: 8 }, caller));
      expect(finished).toBeGreaterThan(0);
      const rows = await tenant.items(id, { limit: 999, order: 'oldest-first' });
      expect(rows.map((row) => row.position)).toEqual(Array.from({ length: finished * 2 }, (_, index) => index + 1));
    });

    test('is refused where its conversation or the turn before it does not exist', async () => {
      const tenant = wholeTenant();
      expect(await tenant.beginTurn(aTurn({ conversation: newId('conversation') }), [])).toBe('conversation_missing');
      const orphan = aTurn({ previous: newId('turn') });
      expect(await tenant.beginTurn(orphan, [anItem()])).toBe('previous_missing');
      expect(await tenant.turn(orphan.id)).toBeUndefined();
    });

    test('is deleted with its items', async () => {
      const tenant = wholeTenant();
      const turn = aTurn();
      await tenant.beginTurn(turn, [anItem()]);
      expect(await tenant.deleteTurn(turn.id)).toBe(true);
      expect(await tenant.deleteTurn(turn.id)).toBe(false);
      expect(await tenant.turnItems(turn.id, 'input')).toEqual([]);
    });

    test('that lost its node is claimed once its lease is over, by one node, under a new epoch', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      const lost = aTurn({ conversation: id, leaseMs: -1 });
      const running = aTurn();
      await tenant.beginTurn(lost, [anItem()]);
      await tenant.beginTurn(running, []);
      const late = await store.system.claimTurns(newId('node'), 60_000, 1000, 60_000);
      expect(late.some(({ turn }) => turn === lost.id)).toBe(false);
      const claims = Array.from({ length: 4 }, () => store.system.claimTurns(newId('node'), 60_000, 100, 0));
      const claimed = (await Promise.all(claims)).flat();
      expect(claimed.filter(({ turn }) => turn === lost.id)).toMatchObject([{ epoch: 2, attempts: 2 }]);
      expect(claimed.some(({ turn }) => turn === running.id)).toBe(false);
      expect(await tenant.turn(lost.id)).toMatchObject({ state: 'running', epoch: 2 });
      // Its first node writes no more.
      expect(await tenant.finishTurn(lost.id, 1, aFinish(), [anItem()])).toBe(false);
      expect(await tenant.beginTurn(aTurn({ conversation: id }), [])).toBe('locked');
      expect(await tenant.finishTurn(lost.id, 2, aFinish(), [anItem()])).toBe(true);
      expect(await tenant.items(id, { limit: 9, order: 'oldest-first' })).toHaveLength(2);
      await tenant.finishTurn(running.id, 1, aFinish(), []);
    });

    test('keeps its lease while its owner renews, and only what still runs is renewed', async () => {
      const tenant = wholeTenant();
      const owner = newId('node');
      const [first, second, another] = [aTurn({ owner, leaseMs: -1 }), aTurn({ owner }), aTurn({ leaseMs: -1 })];
      for (const turn of [first, second, another]) await tenant.beginTurn(turn, []);
      await tenant.finishTurn(second.id, 1, aFinish(), []);
      expect(await store.system.renewTurns(owner, 60_000)).toMatchObject([
        { turn: first.id, epoch: 1, isHeard: false },
      ]);
      const claimed = await store.system.claimTurns(newId('node'), 60_000, 1000, 0);
      expect(claimed.map(({ turn }) => turn)).toContain(another.id);
      expect(claimed.map(({ turn }) => turn)).not.toContain(first.id);
      await store.system.expireLeases(newId('node'));
      expect(await store.system.claimTurns(newId('node'), 60_000, 1000, 0)).toEqual([]);
      await store.system.expireLeases(owner);
      const rest = await store.system.claimTurns(newId('node'), 60_000, 1000, 0);
      // Given up on purpose, so that it is no attempt.
      expect(rest).toMatchObject([{ turn: first.id, attempts: 1 }]);
      expect(await store.system.renewTurns(owner, 60_000)).toEqual([]);
    });

    test('is given up by its owner under its own epoch alone', async () => {
      const tenant = wholeTenant();
      const owner = newId('node');
      const turn = aTurn({ owner });
      await tenant.beginTurn(turn, []);
      const claimed = async (): Promise<readonly Id<'turn'>[]> =>
        (await store.system.claimTurns(newId('node'), 60_000, 1000, 0)).map((one) => one.turn);
      await store.system.endLease(newId('node'), turn.id, 1);
      await store.system.endLease(owner, turn.id, 2);
      expect(await claimed()).not.toContain(turn.id);
      await store.system.endLease(owner, turn.id, 1);
      expect(await claimed()).toContain(turn.id);
      await tenant.finishTurn(turn.id, 2, aFinish(), []);
    });

    test('tells its owner whether others hear it, and that it was asked to stop, while it runs', async () => {
      const home = aTenant();
      const tenant = wholeTenant(home);
      const owner = newId('node');
      const turn = aTurn({ owner });
      await tenant.beginTurn(turn, []);
      expect(await tenant.askCancel(turn.id)).toBe(true);
      await store.system.hearTurns([{ tenant: home, turn: turn.id }], 60_000);
      const held = { turn: turn.id, epoch: 1, cancelAsked: true, isHeard: true };
      expect(await store.system.renewTurns(owner, 60_000)).toEqual([held]);
      await store.system.hearTurns([{ tenant: home, turn: turn.id }], -1);
      expect(await store.system.renewTurns(owner, 60_000)).toEqual([{ ...held, isHeard: false }]);
      await tenant.finishTurn(turn.id, 1, aFinish(), []);
      expect(await tenant.askCancel(turn.id)).toBe(false);
      expect(await wholeTenant().askCancel(turn.id)).toBe(false);
    });

    test('is the one that runs in its conversation', async () => {
      const tenant = wholeTenant();
      const id = await aConversation(tenant);
      expect(await tenant.runningTurn(id)).toBeUndefined();
      const turn = aTurn({ conversation: id });
      await tenant.beginTurn(turn, []);
      expect(await tenant.runningTurn(id)).toBe(turn.id);
      expect(await wholeTenant().runningTurn(id)).toBeUndefined();
      await tenant.finishTurn(turn.id, 1, aFinish(), []);
      expect(await tenant.runningTurn(id)).toBeUndefined();
    });
  });

  describe('events of a turn', () => {
    const batch = (tenant: TenantId, turn: NewTurn, epoch: number, firstSeq: number, lastSeq: number): EventBatch => {
      return {
        tenant,
        turn: turn.id,
        subject: turn.subject,
        epoch,
        firstSeq,
        lastSeq,
        content: sealed(),
        createdAtMs: 5,
      };
    };

    test('go with any item of the turn that is deleted, once it is over', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const id = await aConversation(tenant);
      const known = async (turn: NewTurn) => (await tenant.turnEvents(turn.id, -1, 100)).length;
      const [turn, other] = [aTurn({ conversation: id }), aTurn()];
      const [asked, more, answer] = [anItem(), anItem(), anItem()];
      await tenant.beginTurn(turn, [asked, more]);
      await tenant.beginTurn(other, []);
      await store.system.appendEvents([batch(tenantId, turn, 1, 1, 4), batch(tenantId, other, 1, 1, 4)]);
      // Another node may have to go on with it.
      expect(await tenant.deleteItem(id, asked.id)).toBe(true);
      expect(await known(turn)).toBe(1);
      await tenant.finishTurn(turn.id, 1, aFinish(), [answer]);
      expect(await store.reach({ tenant: tenantId, subject: bob }).deleteItem(id, answer.id)).toBe(false);
      expect(await tenant.deleteItem(newId('conversation'), answer.id)).toBe(false);
      expect(await known(turn)).toBe(1);
      expect(await tenant.deleteItem(id, answer.id)).toBe(true);
      expect(await known(turn)).toBe(0);
      expect(await known(other)).toBe(1);
    });

    test('come back in order from any of them on, with the last of them in the transaction that ends it', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const turn = aTurn();
      await tenant.beginTurn(turn, []);
      const [first, second] = [batch(tenantId, turn, 1, 1, 4), batch(tenantId, turn, 1, 5, 5)];
      expect(await store.system.appendEvents([second, first])).toMatchObject([{ turn: turn.id, cancelAsked: false }]);
      const { content } = batch(tenantId, turn, 1, 6, 9);
      expect(await tenant.finishTurn(turn.id, 1, aFinish(), [], { firstSeq: 6, lastSeq: 9, content })).toBe(true);
      const rows = await tenant.turnEvents(turn.id, -1, 100);
      expect(rows.map(({ firstSeq, lastSeq, epoch }) => [firstSeq, lastSeq, epoch])).toEqual([
        [1, 4, 1],
        [5, 5, 1],
        [6, 9, 1],
      ]);
      expect(plain(rows[0]!.content)).toBe(plain(first.content));
      expect((await tenant.turnEvents(turn.id, 4, 100)).map(({ firstSeq }) => firstSeq)).toEqual([5, 6]);
      expect((await tenant.turnEvents(turn.id, 3, 1)).map(({ firstSeq }) => firstSeq)).toEqual([1]);
      expect(await wholeTenant().turnEvents(turn.id, -1, 100)).toEqual([]);
      expect(await store.reach({ tenant: tenantId, subject: bob }).turnEvents(turn.id, -1, 100)).toEqual([]);
    });

    test('of a stale epoch, or of a turn that ended, are refused, and take none of their company with them', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const [stale, ended, sound] = [aTurn({ leaseMs: -1 }), aTurn(), aTurn()];
      for (const turn of [stale, ended, sound]) await tenant.beginTurn(turn, []);
      await store.system.claimTurns(newId('node'), 60_000, 1000, 0);
      await tenant.finishTurn(ended.id, 1, aFinish(), []);
      const batches = [stale, ended, sound].map((turn) => batch(tenantId, turn, 1, 1, 1));
      expect(await store.system.appendEvents(batches)).toMatchObject([{ turn: sound.id, cancelAsked: false }]);
      expect(await tenant.turnEvents(stale.id, -1, 9)).toEqual([]);
      expect(await tenant.turnEvents(ended.id, -1, 9)).toEqual([]);
      expect(await tenant.turnEvents(sound.id, -1, 9)).toHaveLength(1);
      expect(await store.system.appendEvents([batch(tenantId, stale, 2, 1, 1)])).toHaveLength(1);
      expect(await store.system.appendEvents([])).toEqual([]);
      // Both at once, by a node that took its own turn over.
      const both = [batch(tenantId, stale, 1, 1, 1), batch(tenantId, stale, 2, 3, 3)];
      expect(await store.system.appendEvents(both)).toMatchObject([{ turn: stale.id, epoch: 2 }]);
      expect((await tenant.turnEvents(stale.id, 1, 9)).map(({ epoch }) => epoch)).toEqual([2]);
      // Sent again as it was, since nobody said whether it came.
      const again = batch(tenantId, stale, 2, 2, 2);
      for (let round = 0; round < 2; round += 1) expect(await store.system.appendEvents([again])).toHaveLength(1);
      expect(await tenant.turnEvents(stale.id, -1, 9)).toHaveLength(3);
    });

    test('tell how far each of many turns is', async () => {
      const home = aTenant();
      const tenant = wholeTenant(home);
      const turns = Array.from({ length: 70 }, () => aTurn());
      await Promise.all(turns.map((turn) => tenant.beginTurn(turn, [])));
      const keys = turns.map(({ id }) => ({ tenant: home, turn: id }));
      const [first, second] = keys;
      const batch = { tenant: home, subject: ann, epoch: 1, content: sealed(), createdAtMs: 1 };
      await store.system.appendEvents([
        { ...batch, turn: first!.turn, firstSeq: 1, lastSeq: 4 },
        { ...batch, turn: second!.turn, firstSeq: 1, lastSeq: 2 },
      ]);
      await store.system.appendEvents([{ ...batch, turn: first!.turn, firstSeq: 5, lastSeq: 19 }]);
      await tenant.finishTurn(second!.turn, 1, aFinish(), []);
      const elsewhere = { tenant: aTenant(), turn: first!.turn };
      const unknown = { tenant: home, turn: newId('turn') };
      const progress = await store.system.turnProgress([...keys, elsewhere, unknown]);
      expect(progress).toHaveLength(70);
      const of = (key: (typeof keys)[number]) => progress.find(({ turn }) => turn === key.turn);
      expect(of(first!)).toEqual({ ...first, state: 'running', epoch: 1, lastSeq: 19 });
      expect(of(second!)).toEqual({ ...second, state: 'completed', epoch: 1, lastSeq: 2 });
      expect(of(keys[69]!)).toEqual({ ...keys[69], state: 'running', epoch: 1, lastSeq: null });
      expect(await store.system.turnProgress([])).toEqual([]);
      await store.system.hearTurns(keys, 60_000);
      await store.system.hearTurns([], 60_000);
    });

    test('of hundreds of turns are appended together while their leases are renewed and claimed', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const owner = newId('node');
      const turns = Array.from({ length: 150 }, () => aTurn({ owner }));
      await Promise.all(turns.map((turn) => tenant.beginTurn(turn, [])));
      const rounds = Array.from({ length: 6 }, (_, round) => [
        store.system.appendEvents(turns.map((turn) => batch(tenantId, turn, 1, round + 1, round + 1))),
        store.system.renewTurns(owner, 60_000),
      ]);
      for (const held of await Promise.all(rounds.flat())) expect(held).toHaveLength(150);
      expect(await tenant.turnEvents(turns[77]!.id, -1, 9)).toHaveLength(6);
    });

    test('go with their turn, and by age once it has ended', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const [gone, ended, running] = [aTurn(), aTurn(), aTurn()];
      for (const turn of [gone, ended, running]) {
        await tenant.beginTurn(turn, []);
        await store.system.appendEvents([batch(tenantId, turn, 1, 1, 1)]);
      }
      await tenant.deleteTurn(gone.id);
      expect(await tenant.turnEvents(gone.id, -1, 9)).toEqual([]);
      await tenant.finishTurn(ended.id, 1, aFinish(), []);
      expect(await store.system.deleteEvents(3000, 1000)).toBe(0);
      expect(await store.system.deleteEvents(3001, 1000)).toBeGreaterThan(0);
      expect(await tenant.turnEvents(ended.id, -1, 9)).toEqual([]);
      expect(await tenant.turnEvents(running.id, -1, 9)).toHaveLength(1);
    });
  });

  describe('a queue of turns', () => {
    const begun = (turn: QueuedTurn): NewTurn => {
      const { input: _input, queuedAtMs: _queuedAtMs, deadlineMs: _deadlineMs, ...asked } = turn;
      return { ...asked, queued: true, completion: false, startedAtMs: 3000, owner: newId('node'), leaseMs: 60_000 };
    };
    const readyNow = (change: Partial<ReadyRequest> = {}) =>
      store.system.readyTurns({ most: 10_000, perLane: 100, waitedMs: 0, full: [], ...change });
    const ready = async (tenant: TenantId) =>
      (await readyNow()).filter((row) => row.tenant === tenant).map(({ turn }) => turn);

    test('gives each back as it was put in, to be begun once', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const turn = aQueued({ userAuthorisation: sealed() });
      expect(await tenant.enqueueTurn(turn, 5)).toBe('queued');
      expect(plain(await tenant.queuedTurn(turn.id))).toEqual(plain(turn));
      expect(await wholeTenant().queuedTurn(turn.id)).toBeUndefined();
      expect(await ready(tenantId)).toEqual([turn.id]);
      const begins = [1, 2, 3].map(() => tenant.beginQueuedTurn(begun(turn), [anItem()]));
      expect((await Promise.all(begins)).toSorted()).toEqual(['begun', 'gone', 'gone']);
      expect(await ready(tenantId)).toEqual([]);
      expect(await tenant.turn(turn.id)).toMatchObject({ state: 'running', background: true, epoch: 1 });
      expect(await tenant.turnItems(turn.id, 'input')).toHaveLength(1);
    });

    test('takes of each tenant in turn, what has a listener beside what has none, and nothing of a full lane', async () => {
      const [busy, calm] = [aTenant(), aTenant()];
      const many = Array.from({ length: 5 }, (_, index) =>
        aQueued({ id: newId('turn', 2000 + index), queuedAtMs: 2000 + index }),
      );
      for (const turn of many) await wholeTenant(busy).enqueueTurn(turn, 5);
      const listened = aQueued({ id: newId('turn', 1), background: false, deadlineMs: Date.now() + 60_000 });
      const late = aQueued({ background: false, deadlineMs: 3000 });
      for (const turn of [listened, late]) await wholeTenant(busy).enqueueTurn(turn, 5);
      const [one, two] = [aQueued({ id: newId('turn', 1) }), aQueued()];
      for (const turn of [one, two]) await wholeTenant(calm).enqueueTurn(turn, 5);
      const idsOf = (rows: Awaited<ReturnType<typeof readyNow>>) =>
        rows.filter(({ tenant }) => tenant === busy || tenant === calm).map(({ turn }) => turn);
      const all = await readyNow();
      const places = idsOf(all);
      expect(places).toHaveLength(9);
      expect(all.find(({ turn }) => turn === late.id)).toEqual({
        tenant: busy,
        turn: late.id,
        background: false,
        isLate: true,
      });
      expect(places[0]).toBe(late.id);
      expect(new Set(places.slice(1, 4))).toEqual(new Set([many[0]!.id, listened.id, one.id]));
      expect(new Set(places.slice(4, 6))).toEqual(new Set([many[1]!.id, two.id]));
      expect(places.slice(6)).toEqual(many.slice(2).map(({ id }) => id));
      expect(idsOf(await readyNow({ perLane: 1 }))).toHaveLength(4);
      const full = [{ tenant: busy, background: true }];
      expect(new Set(idsOf(await readyNow({ full })))).toEqual(new Set([late.id, listened.id, one.id, two.id]));
      const closed = [...full, { tenant: busy, background: false }];
      expect(new Set(idsOf(await readyNow({ full: closed })))).toEqual(new Set([late.id, one.id, two.id]));
    });

    test('has room for what may begin beside what waited too long, which may be there for long', async () => {
      const tenant = wholeTenant();
      for (let late = 0; late < 4; late += 1) await tenant.enqueueTurn(aQueued({ deadlineMs: 1 }), 5);
      await tenant.enqueueTurn(aQueued(), 5);
      expect((await readyNow({ most: 4 })).filter(({ isLate }) => !isLate)).not.toEqual([]);
    });

    test('lets those of one conversation begin in order, one at a time, and none overtake', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const conversation = await aConversation(tenant);
      const [first, second] = [aQueued({ conversation }), aQueued({ conversation, queuedAtMs: 2001 })];
      for (const turn of [first, second]) expect(await tenant.enqueueTurn(turn, 2)).toBe('queued');
      expect(await tenant.enqueueTurn(aQueued({ conversation }), 2)).toBe('full');
      expect(await ready(tenantId)).toEqual([first.id]);
      expect(await tenant.waitingTurns(conversation)).toEqual([first.id, second.id]);
      expect(await wholeTenant().waitingTurns(conversation)).toEqual([]);
      const longWaiting = await readyNow({ waitedMs: Date.now() });
      expect(longWaiting.some(({ turn }) => turn === first.id)).toBe(false);
      expect(await tenant.beginTurn(aTurn({ conversation }), [anItem()])).toBe('locked');
      expect(await tenant.beginQueuedTurn(begun(second), [anItem()])).toBe('locked');
      expect(await tenant.beginQueuedTurn(begun(first), [anItem()])).toBe('begun');
      expect(await ready(tenantId)).toEqual([]);
      expect(await tenant.beginQueuedTurn(begun(second), [anItem()])).toBe('locked');
      await tenant.finishTurn(first.id, 1, aFinish(), [anItem()]);
      expect(await ready(tenantId)).toEqual([second.id]);
      expect(await tenant.beginQueuedTurn(begun(second), [anItem()])).toBe('begun');
      const rows = await tenant.items(conversation, { limit: 9, order: 'oldest-first' });
      expect(rows.map(({ turn }) => turn)).toEqual([first.id, first.id, second.id]);
    });

    test('ends one that never began, with what was said, while another of its conversation runs', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const conversation = await aConversation(tenant);
      await tenant.beginTurn(aTurn({ conversation }), []);
      const late = aQueued({ conversation, deadlineMs: 1 });
      await tenant.enqueueTurn(late, 5);
      expect(await ready(tenantId)).toEqual([late.id]);
      const outcome = { state: 'failed', code: 'conversation_locked', message: 'Too late.' } as const;
      expect(await tenant.endQueuedTurn(begun(late), [anItem()], aFinish({ outcome }))).toBe(true);
      expect(await tenant.endQueuedTurn(begun(late), [anItem()], aFinish({ outcome }))).toBe(false);
      const ended = { state: 'failed', reason: 'conversation_locked', message: 'Too late.', finishedAtMs: 3000 };
      expect(await tenant.turn(late.id)).toMatchObject(ended);
      expect(await tenant.turnItems(late.id, 'input')).toHaveLength(1);
      expect(await tenant.items(conversation, { limit: 9, order: 'oldest-first' })).toEqual([]);
    });

    test('ends one whose earlier turn was deleted meanwhile, which cannot begin any more', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const earlier = aTurn();
      await tenant.beginTurn(earlier, []);
      const orphan = aQueued({ previous: earlier.id });
      expect(await tenant.enqueueTurn(orphan, 5)).toBe('queued');
      await tenant.deleteTurn(earlier.id);
      expect(await tenant.beginQueuedTurn(begun(orphan), [])).toBe('previous_missing');
      const outcome = { state: 'failed', code: 'not_found', message: 'Gone.' } as const;
      expect(await tenant.endQueuedTurn(begun(orphan), [], aFinish({ outcome }))).toBe(true);
      expect(await ready(tenantId)).toEqual([]);
    });

    test('takes a turn of a conversation or after a turn that exists only, of oneself only', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const lost = aQueued({ conversation: newId('conversation') });
      expect(await tenant.enqueueTurn(lost, 5)).toBe('conversation_missing');
      expect(await tenant.enqueueTurn(aQueued({ previous: newId('turn') }), 5)).toBe('previous_missing');
      const person = store.reach({ tenant: tenantId, subject: bob });
      await expect(person.enqueueTurn(aQueued(), 5)).rejects.toMatchObject({ code: 'forbidden' });
    });
  });

  describe('a repeat', () => {
    const key = () => randomBytes(32);

    test('finds the one turn of its idempotency key, running, ended or queued', async () => {
      const tenantId = aTenant();
      const tenant = wholeTenant(tenantId);
      const repeats = { idempotency: key(), body: key() };
      const none = { idempotency: repeats.idempotency, body: null };
      expect(await tenant.repeatedTurn(none, 0)).toBeUndefined();
      const turn = aTurn({ repeats });
      expect(await tenant.beginTurn(turn, [])).toBe('begun');
      expect(await tenant.beginTurn(aTurn({ repeats }), [])).toBe('repeated');
      expect(plain(await tenant.repeatedTurn(none, 0))).toEqual(plain({ turn: turn.id, body: repeats.body }));
      expect(await wholeTenant().repeatedTurn(none, 0)).toBeUndefined();
      expect(await store.reach({ tenant: tenantId, subject: bob }).repeatedTurn(none, 0)).toBeUndefined();
      await tenant.finishTurn(turn.id, 1, aFinish(), []);
      expect(await tenant.repeatedTurn(none, 0)).toMatchObject({ turn: turn.id });
      const queued = aQueued({ repeats });
      expect(await tenant.enqueueTurn(queued, 5)).toBe('repeated');
      const fresh = { idempotency: key(), body: null };
      expect(await tenant.enqueueTurn({ ...queued, repeats: fresh }, 5)).toBe('queued');
      expect(await tenant.repeatedTurn(fresh, 0)).toMatchObject({ turn: queued.id });
    });

    test('finds the newest turn of its body within the window', async () => {
      const tenant = wholeTenant();
      const repeats = { idempotency: null, body: key() };
      const [old, young] = [aTurn({ repeats, startedAtMs: 10 }), aTurn({ repeats, startedAtMs: 20 })];
      for (const turn of [old, young]) expect(await tenant.beginTurn(turn, [])).toBe('begun');
      expect(await tenant.repeatedTurn(repeats, 5)).toMatchObject({ turn: young.id });
      expect(await tenant.repeatedTurn(repeats, 21)).toBeUndefined();
    });

    test.each([
      ['an answer that nobody heard', aFinish({ isHeard: false }), true, true],
      ['an answer that was heard', aFinish({ isHeard: true }), true, false],
      [
        'a failure',
        aFinish({ outcome: { state: 'failed', code: 'internal', message: 'No.' }, isHeard: false }),
        false,
        false,
      ],
      ['a stop', aFinish({ outcome: { state: 'cancelled' }, isHeard: false }), false, false],
    ])('finds %s by its key or body only where that is right', async (_name, finish, byKey, byBody) => {
      const tenant = wholeTenant();
      const keyed = { idempotency: key(), body: key() };
      const announced = { idempotency: null, body: key() };
      for (const repeats of [keyed, announced]) {
        const turn = aTurn({ repeats });
        await tenant.beginTurn(turn, []);
        await tenant.finishTurn(turn.id, 1, finish, []);
      }
      const found = await tenant.repeatedTurn(keyed, 0);
      expect(found !== undefined).toBe(byKey);
      if (byKey) expect(plain(found?.body)).toEqual(plain(keyed.body));
      expect((await tenant.repeatedTurn(announced, 0)) !== undefined).toBe(byBody);
      // Heard later, it is as if it had been heard at once.
      if (found !== undefined) {
        for (const repeats of [keyed, announced]) {
          const known = await tenant.repeatedTurn(repeats, 0);
          if (known !== undefined) await tenant.endHeard(known.turn);
        }
        expect(plain((await tenant.repeatedTurn(keyed, 0))?.body)).toEqual(plain(keyed.body));
        expect(await tenant.repeatedTurn(announced, 0)).toBeUndefined();
      }
      // One that has a key is found by it alone.
      expect(await tenant.repeatedTurn({ idempotency: null, body: keyed.body }, 0)).toBeUndefined();
      expect(await tenant.repeatedTurn({ idempotency: key(), body: announced.body }, 0)).toBeUndefined();
    });

    test('that comes together with the first is found to be one', async () => {
      const tenant = wholeTenant();
      const repeats = { idempotency: key(), body: key() };
      const enqueue = () => tenant.enqueueTurn(aQueued({ repeats }), 5);
      const results = await Promise.all(Array.from({ length: 8 }, enqueue));
      expect(results.toSorted()).toEqual(['queued', ...Array.from({ length: 7 }, () => 'repeated')]);
    });
  });

  describe('completions', () => {
    test('are the turns that are listed so and ended with an answer, by age, each side of a cursor', async () => {
      const tenant = wholeTenant();
      const made: Id<'turn'>[] = [];
      for (const completion of [true, false, true, true]) {
        const turn = aTurn({ completion, id: newId('turn', 1000 + made.length) });
        await tenant.beginTurn(turn, [anItem()]);
        await tenant.finishTurn(turn.id, 1, aFinish(), [anItem()]);
        made.push(turn.id);
      }
      const running = aTurn({ completion: true });
      await tenant.beginTurn(running, [anItem()]);
      const [a, , b, c] = made;
      const list = async (order: PageRequest['order'], limit: number, after?: Id<'turn'>) =>
        (await tenant.completions({ order, limit, ...(after && { after }) })).map(({ id }) => id);
      expect(await list('oldest-first', 9)).toEqual([a, b, c]);
      expect(await list('newest-first', 2)).toEqual([c, b]);
      expect(await list('oldest-first', 9, a)).toEqual([b, c]);
      expect(await list('newest-first', 9, b)).toEqual([a]);
      expect(await tenant.turn(a!)).toMatchObject({ completion: true });
    });

    test('take other settings in place of theirs', async () => {
      const tenant = wholeTenant();
      const turn = aTurn();
      await tenant.beginTurn(turn, [anItem()]);
      const settings = sealed();
      expect(await tenant.updateTurnSettings(turn.id, settings)).toBe(true);
      expect(Buffer.from((await tenant.turn(turn.id))!.settings)).toEqual(Buffer.from(settings));
      expect(await tenant.updateTurnSettings(newId('turn'), settings)).toBe(false);
    });
  });

  describe('a chain of turns', () => {
    test('answers the newest items, oldest first, up to the most that is asked', async () => {
      const tenant = wholeTenant();
      const items: NewItem[] = [];
      let previous: Id<'turn'> | null = null;
      for (let round = 0; round < 4; round += 1) {
        const [question, answer] = [anItem(), anItem()];
        const turn: NewTurn = aTurn({ previous });
        await tenant.beginTurn(turn, [question]);
        await tenant.finishTurn(turn.id, 1, aFinish(), [answer]);
        items.push(question, answer);
        previous = turn.id;
      }
      const side = aTurn({ previous });
      await tenant.beginTurn(side, [anItem()]);
      expect(ids(await tenant.chainItems(previous!, 100))).toEqual(ids(items));
      expect(ids(await tenant.chainItems(previous!, 3))).toEqual(ids(items).slice(-3));
      expect(await tenant.chainItems(newId('turn'), 9)).toEqual([]);
    });

    test('ends where a turn of it was deleted', async () => {
      const tenant = wholeTenant();
      const [first, second, third] = [anItem(), anItem(), anItem()];
      const a = aTurn();
      const b = aTurn({ previous: a.id });
      const c = aTurn({ previous: b.id });
      await tenant.beginTurn(a, [first]);
      await tenant.beginTurn(b, [second]);
      await tenant.beginTurn(c, [third]);
      await tenant.deleteTurn(a.id);
      expect(ids(await tenant.chainItems(c.id, 9))).toEqual([second.id, third.id]);
      expect((await tenant.turn(b.id))?.previous).toBe(a.id);
    });
  });

  describe('a handover', () => {
    const aHandover = (change: Partial<HandoverRow> = {}): Omit<HandoverRow, 'state' | 'endedAtMs'> => {
      const row = { id: newId('handover'), subject: ann, assistant: 'guide', conversation: null, ...change };
      return { openedBy: 'model', openedAtMs: 5, ...row };
    };

    test('of a conversation is one, joined by its turns, answered once a turn, until it ends', async () => {
      const tenant = wholeTenant();
      const conversation = await aConversation(tenant);
      const turn = aTurn({ conversation });
      await tenant.beginTurn(turn, []);
      const row = aHandover({ conversation });
      const open = { ...row, state: 'open', endedAtMs: null };
      expect(await tenant.openHandover(row, turn.id, null)).toEqual(open);
      expect(await tenant.openHandover(aHandover({ conversation }), null, null)).toEqual(open);
      expect(await tenant.openHandoverOf(conversation, null)).toEqual(open);
      expect(await tenant.handover(row.id)).toEqual({ ...open, waiting: turn.id, latest: turn.id });
      expect(await tenant.replyTo(turn.id)).toEqual({
        id: row.id,
        openedAtMs: row.openedAtMs,
        state: 'open',
        reply: null,
      });
      const reply = sealed();
      expect(await tenant.putReply(row.id, turn.id, reply)).toBe(true);
      expect(await tenant.putReply(row.id, turn.id, sealed())).toBe(false);
      expect(plain(await tenant.replyTo(turn.id))).toEqual(
        plain({ id: row.id, openedAtMs: row.openedAtMs, state: 'open', reply }),
      );
      expect(await tenant.openHandovers({ limit: 9 })).toEqual([{ ...open, waiting: null, latest: turn.id }]);
      expect(await tenant.endHandover(row.id, 'returned', 7)).toBe(true);
      expect(await tenant.endHandover(row.id, 'missed', 8)).toBe(false);
      expect(await tenant.putReply(row.id, turn.id, sealed())).toBe(false);
      expect(await tenant.handover(row.id)).toMatchObject({ state: 'returned', endedAtMs: 7 });
      expect(await tenant.openHandoverOf(conversation, turn.id)).toBeUndefined();
      expect(await tenant.openHandovers({ limit: 9 })).toEqual([]);
      const later = aHandover({ conversation });
      expect((await tenant.openHandover(later, null, null))?.id).toBe(later.id);
      await tenant.deleteConversation(conversation);
      expect(await tenant.handover(later.id)).toBeUndefined();
      expect(await tenant.openHandover(aHandover({ conversation }), null, null)).toBeUndefined();
    });

    test('of a chain of turns goes on with the next of them', async () => {
      const tenant = wholeTenant();
      const first = aTurn();
      const next = aTurn({ previous: first.id });
      await tenant.beginTurn(first, []);
      await tenant.beginTurn(next, []);
      const row = aHandover();
      await tenant.openHandover(row, first.id, null);
      const found = await tenant.openHandoverOf(null, first.id);
      expect(found?.id).toBe(row.id);
      expect(await tenant.openHandoverOf(null, next.id)).toBeUndefined();
      expect((await tenant.openHandover(found!, next.id, null))?.id).toBe(row.id);
      expect((await tenant.openHandoverOf(null, next.id))?.id).toBe(row.id);
      expect(await tenant.openHandoverOf(null, null)).toBeUndefined();
      // It is of that person, as what they said is, and goes with the last of it.
      await tenant.deleteTurn(first.id);
      expect((await tenant.handover(row.id))?.latest).toBe(next.id);
      await tenant.deleteTurn(next.id);
      expect(await tenant.handover(row.id)).toBeUndefined();
    });

    test('is one of so many of a person as are allowed, however many are opened at once', async () => {
      const id = aTenant();
      const tenant = wholeTenant(id);
      const key = { version: 1, wrappedBy: 'root', wrapped: randomBytes(40) };
      await store.system.putTenantKey(id, key);
      await store.system.putSubjectKey(id, ann, key);
      const opened = await Promise.all(Array.from({ length: 12 }, () => tenant.openHandover(aHandover(), null, 5)));
      expect(opened.filter((one) => one !== undefined)).toHaveLength(5);
      expect(await tenant.openHandovers({ limit: 20 })).toHaveLength(5);
      const first = opened.find((one) => one !== undefined)!;
      expect((await tenant.openHandover(first, null, 5))?.id).toBe(first.id);
      expect(await tenant.openHandover(aHandover({ subject: bob }), null, 5)).toBeDefined();
      expect(await tenant.openHandover(aHandover(), null, null)).toBeDefined();
      for (const each of opened) if (each !== undefined) await tenant.endHandover(each.id, 'returned', 7);
      expect(await tenant.openHandover(aHandover(), null, 5)).toBeDefined();
    });

    test('is listed oldest first, page after page; many at once open one', async () => {
      const tenant = wholeTenant();
      const conversation = await aConversation(tenant);
      const opened = await Promise.all(
        Array.from({ length: 8 }, () => tenant.openHandover(aHandover({ conversation }), null, null)),
      );
      expect(new Set(opened.map((one) => one?.id)).size).toBe(1);
      await tenant.openHandover(aHandover(), null, null);
      const all = await tenant.openHandovers({ limit: 9 });
      expect(all).toHaveLength(2);
      expect(await tenant.openHandovers({ limit: 1 })).toEqual(all.slice(0, 1));
      expect(await tenant.openHandovers({ limit: 9, after: all[0]!.id })).toEqual(all.slice(1));
      expect(await wholeTenant().openHandovers({ limit: 9, after: all[0]!.id })).toEqual([]);
      expect(await tenant.openHandovers({ limit: 9, after: newId('handover') })).toEqual([]);
    });
  });

  describe('reach', () => {
    test('ends at the tenant and at the person: what lies outside does not exist', async () => {
      const home = aTenant();
      const owner = store.reach({ tenant: home, subject: ann });
      const item = anItem();
      const id = await aConversation(owner, { items: [item], assistant: 'guide' });
      const turn = aTurn({ conversation: id });
      await owner.beginTurn(turn, [anItem()]);
      await owner.putFeedback({ turn: turn.id, subject: ann, rating: 'up', comment: sealed(), createdAtMs: 1 });
      const handover = { id: newId('handover'), subject: ann, assistant: 'guide', conversation: id, openedAtMs: 1 };
      await owner.openHandover({ ...handover, openedBy: 'rule' }, turn.id, null);
      const before = await everything(owner, id, turn.id);

      const bobFeedback = { turn: turn.id, subject: bob, rating: 'down', comment: null, createdAtMs: 2 } as const;
      for (const reach of [
        { tenant: home, subject: bob },
        { tenant: aTenant(), subject: null },
        { tenant: aTenant(), subject: ann },
      ]) {
        const outside = store.reach(reach);
        const subject = reach.subject ?? bob;
        expect(await outside.conversation(id)).toBeUndefined();
        expect(await outside.listConversations('guide', { limit: 9 })).toEqual([]);
        expect(await outside.listConversations('guide', { limit: 9, after: id })).toEqual([]);
        expect(
          await outside.updateConversation(id, { title: { content: sealed(), of: newId('message') }, metadata: null }),
        ).toBe(false);
        expect(await outside.updateConversation(id, {})).toBe(false);
        expect(await outside.appendItems(id, [anItem()], 9)).toBe(false);
        expect(await outside.items(id, { limit: 9, order: 'oldest-first' })).toEqual([]);
        expect(await outside.items(id, { limit: 9, order: 'newest-first', after: item.id })).toEqual([]);
        expect(await outside.item(id, item.id)).toBeUndefined();
        expect(await outside.storedItem(item.id)).toBeUndefined();
        expect(await outside.deleteItem(id, item.id)).toBe(false);
        expect(await outside.beginTurn(aTurn({ subject, conversation: id }), [])).toBe('conversation_missing');
        expect(await outside.beginTurn(aTurn({ subject, previous: turn.id }), [])).toBe('previous_missing');
        expect(await outside.finishTurn(turn.id, 1, aFinish(), [anItem()])).toBe(false);
        expect(await outside.turn(turn.id)).toBeUndefined();
        expect(await outside.turnItems(turn.id, 'input')).toEqual([]);
        expect(await outside.chainItems(turn.id, 9)).toEqual([]);
        expect(await outside.putFeedback({ ...bobFeedback, subject })).toBe(false);
        expect(await outside.feedback(turn.id)).toBeUndefined();
        expect(await outside.openHandover({ ...handover, openedBy: 'rule', subject }, turn.id, null)).toBeUndefined();
        expect(await outside.openHandoverOf(id, turn.id)).toBeUndefined();
        expect(await outside.handover(handover.id)).toBeUndefined();
        expect(await outside.openHandovers({ limit: 9 })).toEqual([]);
        expect(await outside.openHandovers({ limit: 9, after: handover.id })).toEqual([]);
        expect(await outside.replyTo(turn.id)).toBeUndefined();
        expect(await outside.putReply(handover.id, turn.id, sealed())).toBe(false);
        expect(await outside.endHandover(handover.id, 'returned', 9)).toBe(false);
        expect(await outside.deleteTurn(turn.id)).toBe(false);
        expect(await outside.deleteConversation(id)).toBe(false);
      }
      expect(await everything(owner, id, turn.id)).toEqual(before);
      expect(await everything(store.reach({ tenant: home, subject: null }), id, turn.id)).toEqual(before);
    });

    async function everything(within: TenantStore, id: Id<'conversation'>, turn: Id<'turn'>): Promise<unknown> {
      return plain([
        await within.conversation(id),
        await within.items(id, { limit: 99, order: 'oldest-first' }),
        await within.turn(turn),
        await within.turnItems(turn, 'input'),
        await within.chainItems(turn, 99),
        await within.feedback(turn),
        await within.openHandovers({ limit: 9 }),
        await within.replyTo(turn),
      ]);
    }

    test('lets a person store only what is about themselves', async () => {
      const person = store.reach({ tenant: aTenant(), subject: bob });
      await expect(aConversation(person, { subject: ann })).rejects.toMatchObject({ code: 'forbidden' });
      await expect(person.beginTurn(aTurn(), [])).rejects.toMatchObject({ code: 'forbidden' });
    });

    test('keeps the same id in two tenants apart', async () => {
      const [one, two] = [wholeTenant(), wholeTenant()];
      const turn = aTurn();
      expect(await one.beginTurn(turn, [anItem()])).toBe('begun');
      expect(await two.beginTurn(turn, [anItem(), anItem()])).toBe('begun');
      await two.deleteTurn(turn.id);
      expect(await one.turnItems(turn.id, 'input')).toHaveLength(1);
    });

    test('is never empty', () => {
      expect(() => store.reach({ tenant: '' as TenantId, subject: null })).toThrow(/without a tenant/);
      expect(() => store.reach({ tenant: aTenant(), subject: '' as SubjectId })).toThrow(/empty subject/);
    });
  });

  test('feedback keeps one verdict a turn, the last', async () => {
    const tenant = wholeTenant();
    const turn = aTurn();
    const row = { turn: turn.id, subject: ann, rating: 'up', comment: null, createdAtMs: 1 } as const;
    expect(await tenant.putFeedback(row)).toBe(false);
    await tenant.beginTurn(turn, []);
    expect(await tenant.feedback(turn.id)).toBeUndefined();
    expect(await tenant.putFeedback(row)).toBe(true);
    const second = { ...row, rating: 'down', comment: sealed('why'), createdAtMs: 2 } as const;
    expect(await tenant.putFeedback(second)).toBe(true);
    expect(plain(await tenant.feedback(turn.id))).toEqual(plain(second));
  });

  test('vectors of passages are found by their texts, within their tenant and model, and can be replaced', async () => {
    const tenant = wholeTenant();
    const rows = Array.from({ length: 70 }, (_, at) => ({ textHash: randomBytes(32), vector: sealed(`vector ${at}`) }));
    await tenant.putPassageVectors('small', rows, 1);
    const hashes = rows.map(({ textHash }) => textHash);
    const found = await tenant.passageVectors('small', [randomBytes(32), ...hashes]);
    const byHash = (list: readonly PassageVectorRow[]): unknown =>
      Object.fromEntries(
        list.map(({ textHash, vector }) => [
          Buffer.from(textHash).toString('hex'),
          Buffer.from(vector).toString('hex'),
        ]),
      );
    expect(byHash(found)).toEqual(byHash(rows));
    expect(await tenant.passageVectors('large', hashes)).toEqual([]);
    expect(await wholeTenant().passageVectors('small', hashes)).toEqual([]);
    expect(await tenant.passageVectors('small', [])).toEqual([]);
    const mended = { ...rows[0]!, vector: sealed('mended') };
    await tenant.putPassageVectors('small', [mended], 2);
    expect(byHash(await tenant.passageVectors('small', [hashes[0]!]))).toEqual(byHash([mended]));
  });

  test('a release stays as it was first stored and is found by digest and by prefix', async () => {
    const tenant = wholeTenant();
    const content = sealed('release');
    const made = ['1a', '1b', '1c', '2a'].map((end) => `sha256:${end}` as ReleaseDigest);
    for (const one of made) await tenant.putRelease(one, 'guide', content, 1);
    await tenant.putRelease(made[0]!, 'other', sealed('changed'), 2);
    expect(plain(await tenant.release(made[0]!))).toEqual(plain({ assistant: 'guide', content }));
    expect(await tenant.release(digest)).toBeUndefined();
    expect(await tenant.releasesByPrefix('guide', 'sha256:1')).toEqual(made.slice(0, 2));
    expect(await tenant.releasesByPrefix('guide', 'sha256:2')).toEqual([made[3]]);
    expect(await tenant.releasesByPrefix('guide', 'sha256:%')).toEqual([]);
    expect(await tenant.releasesByPrefix('other', 'sha256:1')).toEqual([]);
    expect(await wholeTenant().releasesByPrefix('guide', 'sha256:1')).toEqual([]);
    expect(await wholeTenant().release(made[0]!)).toBeUndefined();
  });

  describe('an API key', () => {
    test('is found by its hash, listed, and each change raises the revision and is audited', async () => {
      const tenant = aTenant();
      const [first, second] = [aKey(tenant), aKey(tenant, { createdAtMs: 20, expiresAtMs: 99, scopes: [] })];
      const before = await store.system.accessRevision();
      const audits = [
        anAudit(tenant),
        anAudit(tenant, { atMs: 2 }),
        anAudit(tenant, { atMs: 3, action: 'key.revoke' }),
      ];
      await store.system.putApiKey(first, audits[0]!);
      await store.system.putApiKey(second, audits[1]!);
      const afterPut = await store.system.accessRevision();
      expect(afterPut).toBeGreaterThan(before);
      expect(plain(await store.system.apiKeyByHash(first.hash))).toEqual(plain(first));
      expect(await store.system.apiKeyByHash(randomBytes(32))).toBeUndefined();
      expect(plain(await store.system.apiKeys(tenant))).toEqual(plain([first, second]));
      expect(await store.system.revokeApiKey(tenant, first.id, 50, audits[2]!)).toBe(true);
      expect(await store.system.accessRevision()).toBeGreaterThan(afterPut);
      expect(await store.system.apiKeyByHash(first.hash)).toMatchObject({ revokedAtMs: 50 });
      expect(await store.system.audit(tenant, 9)).toEqual(audits.toReversed());
      expect(await store.system.audit(tenant, 1)).toEqual([audits[2]]);
      expect(await store.system.audit(tenant, 9, audits[2]!.id)).toEqual([audits[1], audits[0]]);
      expect(await store.system.audit(aTenant(), 9, audits[2]!.id)).toEqual([]);
    });

    test('is revoked once, not after its end, and not by another tenant; such tries leave no audit', async () => {
      const tenant = aTenant();
      const [live, expired] = [aKey(tenant), aKey(tenant, { expiresAtMs: 40 })];
      await store.system.putApiKey(live, anAudit(tenant));
      await store.system.putApiKey(expired, anAudit(tenant));
      const stranger = aTenant();
      expect(await store.system.revokeApiKey(stranger, live.id, 50, anAudit(stranger))).toBe(false);
      expect(await store.system.revokeApiKey(tenant, expired.id, 50, anAudit(tenant))).toBe(false);
      expect(await store.system.revokeApiKey(tenant, live.id, 50, anAudit(tenant))).toBe(true);
      expect(await store.system.revokeApiKey(tenant, live.id, 60, anAudit(tenant))).toBe(false);
      expect(await store.system.audit(tenant, 99)).toHaveLength(3);
      expect(await store.system.audit(stranger, 99)).toEqual([]);
    });

    test('is not stored when its audit record cannot be', async () => {
      const tenant = aTenant();
      const record = anAudit(tenant);
      await store.system.putApiKey(aKey(tenant), record);
      const second = aKey(tenant);
      await expect(store.system.putApiKey(second, record)).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.system.apiKeyByHash(second.hash)).toBeUndefined();
    });
  });

  describe('a wrapped key', () => {
    const wrappedKey = (version = 1): WrappedKey => ({ version, wrappedBy: 'root', wrapped: randomBytes(40) });

    test('of a tenant or a subject stands as the first writer left it', async () => {
      const tenant = aTenant();
      const [first, second] = [wrappedKey(), wrappedKey(2)];
      expect(await store.system.tenantKey(tenant)).toBeUndefined();
      expect(plain(await store.system.putTenantKey(tenant, first))).toEqual(plain(first));
      expect(plain(await store.system.putTenantKey(tenant, second))).toEqual(plain(first));
      expect(plain(await store.system.tenantKey(tenant))).toEqual(plain(first));
      expect(plain(await store.system.putSubjectKey(tenant, ann, first))).toEqual(plain(first));
      expect(plain(await store.system.putSubjectKey(tenant, ann, second))).toEqual(plain(first));
      expect(plain(await store.system.subjectKey(tenant, ann))).toEqual(plain(first));
      expect(await store.system.subjectKey(tenant, bob)).toBeUndefined();
      expect(await store.system.subjectKey(aTenant(), ann)).toBeUndefined();
      expect(await store.system.hasTenantKeys()).toBe(true);
    });

    test('put by many at once is the same for all of them', async () => {
      const tenant = aTenant();
      const tries = Array.from({ length: 10 }, () => store.system.putSubjectKey(tenant, ann, wrappedKey()));
      const answers = (await Promise.all(tries)).map((key) => JSON.stringify(plain(key)));
      expect(new Set(answers).size).toBe(1);
    });

    test('is replaced together with all others, or none is', async () => {
      const [one, two] = [aTenant(), aTenant()];
      await store.system.putTenantKey(one, wrappedKey());
      await store.system.putTenantKey(two, wrappedKey());
      const before = await store.system.allTenantKeys();
      const fresh = before.map(({ tenant }) => ({ tenant, key: wrappedKey(2) }));
      await expect(store.system.replaceTenantKeys(fresh.slice(1))).rejects.toMatchObject({ code: 'conflict' });
      const withStranger = [...fresh, { tenant: aTenant(), key: wrappedKey(2) }];
      await expect(store.system.replaceTenantKeys(withStranger)).rejects.toMatchObject({ code: 'conflict' });
      expect(plain(await store.system.allTenantKeys())).toEqual(plain(before));
      await store.system.replaceTenantKeys(fresh);
      expect(plain(await store.system.allTenantKeys())).toEqual(plain(fresh));
    });
  });

  describe('a node', () => {
    const aNode = (change: Partial<NodeReport> = {}): NodeReport => ({
      id: newId('node'),
      roles: ['gateway', 'control'],
      version: '1.2.3',
      host: 'here',
      pid: 17,
      startedAtMs: 5,
      state: 'serving',
      appliedRevision: 3,
      runningTurns: 2,
      problem: null,
      ...change,
    });
    const known = async (id: string) => (await store.system.nodes()).find((node) => node.id === id);

    test('is listed as it last said, silent since then by the clock of the database', async () => {
      const node = aNode();
      await store.system.putNode(node);
      expect(plain(await known(node.id))).toEqual({ ...node, silentMs: expect.any(Number) as number });
      const later = { ...node, state: 'draining', appliedRevision: 4, runningTurns: 0, problem: 'why' } as const;
      await store.system.putNode(later);
      const row = await known(node.id);
      expect(plain(row)).toEqual({ ...later, silentMs: expect.any(Number) as number });
      expect(row!.silentMs).toBeGreaterThanOrEqual(0);
      expect(row!.silentMs).toBeLessThan(60_000);
    });

    test('is removed by its id, or with all that are silent for so long', async () => {
      const [leaving, staying] = [aNode(), aNode()];
      for (const node of [leaving, staying]) await store.system.putNode(node);
      await store.system.removeNode(leaving.id);
      expect(await known(leaving.id)).toBeUndefined();
      await store.system.removeSilentNodes(3_600_000);
      expect(await known(staying.id)).toBeDefined();
      expect(await store.system.removeSilentNodes(0)).toBeGreaterThanOrEqual(1);
      expect(await store.system.nodes()).toEqual([]);
    });
  });

  describe('a snapshot', () => {
    const aSnapshot = (digest: string): NewSnapshot => ({
      digest,
      content: `{"is":"${digest}"}`,
      publishedBy: newId('node'),
    });

    test('is the newest that was published, under a revision that grows', async () => {
      const before = await store.system.snapshotRevision();
      const [first, second] = [aSnapshot('a'), aSnapshot('b')];
      const published = await store.system.publishSnapshot(first);
      expect(published.changed).toBe(true);
      expect(published.revision).toBeGreaterThan(before);
      expect(await store.system.snapshotRevision()).toBe(published.revision);
      const replacing = await store.system.publishSnapshot(second);
      expect(replacing).toEqual({ revision: published.revision + 1, changed: true, replaced: first.publishedBy });
      expect(plain(await store.system.snapshot())).toEqual({
        ...second,
        revision: replacing.revision,
        publishedAtMs: expect.any(Number) as number,
      });
    });

    test('that serves the same is not published again', async () => {
      const { revision } = await store.system.publishSnapshot(aSnapshot('same'));
      expect(await store.system.publishSnapshot(aSnapshot('same'))).toEqual({
        revision,
        changed: false,
        replaced: null,
      });
      expect(await store.system.snapshotRevision()).toBe(revision);
    });

    test('published by many at once has one order: each revision once, and the newest is the last', async () => {
      const made = Array.from({ length: 30 }, (_, index) => aSnapshot(`many-${index}`));
      const published = await Promise.all(made.map((each) => store.system.publishSnapshot(each)));
      const revisions = published.map(({ revision }) => revision);
      expect(new Set(revisions).size).toBe(made.length);
      const last = revisions.indexOf(Math.max(...revisions));
      expect(await store.system.snapshot()).toMatchObject({ digest: made[last]!.digest, revision: revisions[last] });
      expect(await store.system.snapshotRevision()).toBe(revisions[last]);
    });
  });

  test('unstored turns are recorded in any number, all or none', async () => {
    const tenant = aTenant();
    const unstored = (): UnstoredTurn => {
      const { id, subject, assistant, environment, release, startedAtMs } = aTurn();
      return { tenant, id, subject, assistant, environment, release, startedAtMs, ...aFinish() };
    };
    await store.system.recordUnstoredTurns([]);
    await store.system.recordUnstoredTurns(Array.from({ length: 150 }, unstored));
    const [first, second] = [unstored(), unstored()];
    await expect(store.system.recordUnstoredTurns([first, second, first])).rejects.toMatchObject({ code: 'conflict' });
    await store.system.recordUnstoredTurns([second]);
  });

  test('an operation that fails harms none of those that were called with it', async () => {
    const tenant = wholeTenant();
    const taken = aTurn();
    await tenant.beginTurn(taken, []);
    const turns = Array.from({ length: 30 }, () => aTurn());
    const outcomes = await Promise.allSettled(
      turns.flatMap((turn) => [tenant.beginTurn(turn, [anItem()]), tenant.beginTurn(taken, [anItem()])]),
    );
    const [begun, refused] = [0, 1].map((odd) => outcomes.filter((_, index) => index % 2 === odd));
    expect(begun!.every((outcome) => outcome.status === 'fulfilled' && outcome.value === 'begun')).toBe(true);
    expect(refused!.every((outcome) => outcome.status === 'rejected')).toBe(true);
    for (const turn of turns) expect(await tenant.turnItems(turn.id, 'input')).toHaveLength(1);
    expect(await tenant.turnItems(taken.id, 'input')).toEqual([]);
  });

  test('probe goes through, many at once', async () => {
    await Promise.all(Array.from({ length: 8 }, () => store.probe()));
  });
}
