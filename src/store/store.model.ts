import * as fc from 'fast-check';
import { expect } from 'vitest';
import { newId, type Id } from '#base';
import type { Reach, SubjectId, TenantId } from '#access';
import { aFinish, anItem, aTenant, aTurn, plain, sealed } from './store.contract.ts';
import type { ConversationRow, NewItem, Store, TenantStore, TurnRow } from './store.ts';

/*
 * The store against a model in plain arrays: any run of commands, by callers of two tenants and two
 * subjects and by whole tenants, on each other's ids, answers as the model does.
 */

interface ModelItem {
  readonly id: string;
  readonly tenant: TenantId;
  readonly subject: SubjectId;
  readonly conversation: string | null;
  readonly turn: string | null;
  readonly part: 'input' | 'output' | null;
  readonly position: number;
}

type ModelConversation = { tenant: TenantId; made: number } & {
  -readonly [Name in 'id' | 'subject' | 'assistant' | 'updatedAtMs']: ConversationRow[Name];
};
type ModelTurn = { tenant: TenantId; made: number } & {
  -readonly [Name in 'id' | 'subject' | 'conversation' | 'previous' | 'state']: TurnRow[Name];
};

class Model {
  conversations: ModelConversation[] = [];
  turns: ModelTurn[] = [];
  items: ModelItem[] = [];
  nowMs = 1000;

  conversation(reach: Reach, id: string): ModelConversation | undefined {
    return this.conversations.find((row) => row.id === id && within(reach, row));
  }

  turn(reach: Reach, id: string): ModelTurn | undefined {
    return this.turns.find((row) => row.id === id && within(reach, row));
  }

  add(items: readonly NewItem[], place: Omit<ModelItem, 'id' | 'position'>, counter: { made: number }): void {
    for (const { id } of items) this.items.push({ ...place, id, position: (counter.made += 1) });
  }

  positionsOf(turn: ModelTurn): { made: number } {
    const of = this.conversations.find((row) => row.tenant === turn.tenant && row.id === turn.conversation);
    return of ?? turn;
  }

  chain(reach: Reach, id: string): readonly string[] {
    const turn = this.turn(reach, id);
    if (turn === undefined) return [];
    const own = this.items.filter((row) => within(reach, row) && row.tenant === turn.tenant && row.turn === turn.id);
    const earlier = turn.previous === null ? [] : this.chain({ ...reach, tenant: turn.tenant }, turn.previous);
    return [...earlier, ...own.map((row) => row.id)];
  }
}

function within(reach: Reach, row: { readonly tenant: TenantId; readonly subject: SubjectId }): boolean {
  return row.tenant === reach.tenant && (reach.subject === null || row.subject === reach.subject);
}

const ids = (rows: readonly { readonly id: string }[]) => rows.map((row) => row.id);

interface Caller {
  readonly reach: Reach;
  /** Whom the caller writes about. */
  readonly subject: SubjectId;
  readonly store: TenantStore;
}

type Step = (model: Model, caller: Caller, pick: number) => Promise<void>;

/** An id of that kind that exists, anywhere, or one that does not. */
function anId<Kind extends 'conversation' | 'turn'>(
  kind: Kind,
  rows: readonly { readonly id: string }[],
  pick: number,
) {
  return (rows[pick % (rows.length + 1)]?.id ?? newId(kind)) as Id<Kind>;
}

const steps: Readonly<Record<string, Step>> = {
  async createConversation(model, { reach, subject, store }, pick) {
    const items = Array.from({ length: pick % 3 }, anItem);
    const id = newId('conversation');
    model.nowMs += 1;
    const row = { id, subject, assistant: null, release: null, title: null, metadata: null, createdAtMs: model.nowMs };
    await store.createConversation(row, items);
    const made = { id, tenant: reach.tenant, subject, assistant: null, updatedAtMs: model.nowMs, made: 0 };
    model.conversations.push(made);
    model.add(items, { tenant: reach.tenant, subject, conversation: id, turn: null, part: null }, made);
  },

  async appendItems(model, { reach, store }, pick) {
    const id = anId('conversation', model.conversations, pick);
    const items = Array.from({ length: pick % 4 }, anItem);
    model.nowMs += 1;
    const found = model.conversation(reach, id);
    expect(await store.appendItems(id, items, model.nowMs)).toBe(found !== undefined);
    if (found === undefined) return;
    found.updatedAtMs = model.nowMs;
    const { tenant, subject } = found;
    model.add(items, { tenant, subject, conversation: id, turn: null, part: null }, found);
  },

  async beginTurn(model, { reach, subject, store }, pick) {
    const inConversation = pick % 2 === 0;
    const conversation = inConversation ? anId('conversation', model.conversations, pick >> 2) : null;
    const previous = (pick >> 1) % 2 === 0 ? anId('turn', model.turns, pick >> 3) : null;
    const items = Array.from({ length: pick % 3 }, anItem);
    model.nowMs += 1;
    const turn = aTurn({ subject, conversation, previous, startedAtMs: model.nowMs });
    const of = conversation === null ? undefined : model.conversation(reach, conversation);
    const running = (row: ModelTurn) =>
      row.state === 'running' && row.tenant === reach.tenant && row.conversation === conversation;
    let expected = 'begun';
    if (conversation !== null && of === undefined) expected = 'conversation_missing';
    else if (previous !== null && model.turn(reach, previous) === undefined) expected = 'previous_missing';
    else if (conversation !== null && model.turns.some(running)) expected = 'locked';
    expect(await store.beginTurn(turn, items)).toBe(expected);
    if (expected !== 'begun') return;
    const { tenant } = reach;
    const row: ModelTurn = { id: turn.id, tenant, subject, conversation, previous, state: 'running', made: 0 };
    model.turns.push(row);
    if (of !== undefined) {
      of.updatedAtMs = model.nowMs;
      of.assistant ??= turn.assistant;
    }
    model.add(items, { tenant, subject, conversation, turn: turn.id, part: 'input' }, of ?? row);
  },

  async finishTurn(model, { reach, store }, pick) {
    const id = anId('turn', model.turns, pick);
    const items = Array.from({ length: pick % 3 }, anItem);
    model.nowMs += 1;
    const found = model.turn(reach, id);
    const running = found?.state === 'running';
    const finish = aFinish({ outcome: { state: 'cancelled' }, finishedAtMs: model.nowMs });
    expect(await store.finishTurn(id, 1, finish, items)).toBe(running);
    if (!running) return;
    found.state = 'cancelled';
    const of = model.conversations.find((row) => row.tenant === found.tenant && row.id === found.conversation);
    if (of !== undefined) of.updatedAtMs = model.nowMs;
    const { tenant, subject, conversation } = found;
    model.add(items, { tenant, subject, conversation, turn: id, part: 'output' }, model.positionsOf(found));
  },

  async deleteConversation(model, { reach, store }, pick) {
    // Seldom, so that runs grow something worth deleting.
    const id = anId('conversation', pick % 3 === 0 ? model.conversations : [], pick >> 2);
    const found = model.conversation(reach, id);
    expect(await store.deleteConversation(id)).toBe(found !== undefined);
    if (found === undefined) return;
    const ofIt = (row: { readonly tenant: TenantId; readonly conversation: string | null }) =>
      row.tenant === found.tenant && row.conversation === id;
    model.conversations = model.conversations.filter((row) => row !== found);
    model.turns = model.turns.filter((row) => !ofIt(row));
    model.items = model.items.filter((row) => !ofIt(row));
  },

  async deleteTurn(model, { reach, store }, pick) {
    const id = anId('turn', pick % 3 === 0 ? model.turns : [], pick >> 2);
    const found = model.turn(reach, id);
    expect(await store.deleteTurn(id)).toBe(found !== undefined);
    if (found === undefined) return;
    model.turns = model.turns.filter((row) => row !== found);
    model.items = model.items.filter((row) => !(row.tenant === found.tenant && row.turn === id));
  },

  async deleteItem(model, { reach, store }, pick) {
    const chosen = model.items[pick % (model.items.length + 1)];
    const conversation = (chosen?.conversation ?? newId('conversation')) as Id<'conversation'>;
    const found = chosen !== undefined && chosen.conversation !== null && within(reach, chosen);
    expect(await store.deleteItem(conversation, chosen?.id ?? 'msg_none')).toBe(found);
    if (found) model.items = model.items.filter((row) => row !== chosen);
  },

  async feedback(model, { reach, subject, store }, pick) {
    const id = anId('turn', model.turns, pick);
    const found = model.turn(reach, id) !== undefined;
    const row = { turn: id, subject, rating: 'up', comment: sealed(), createdAtMs: model.nowMs } as const;
    expect(await store.putFeedback(row)).toBe(found);
    if (found) expect(plain(await store.feedback(id))).toEqual(plain(row));
  },

  async readConversation(model, { reach, store }, pick) {
    const id = anId('conversation', model.conversations, pick);
    const found = model.conversation(reach, id);
    const row = await store.conversation(id);
    expect(row && [row.subject, row.assistant, row.updatedAtMs]).toEqual(
      found && [found.subject, found.assistant, found.updatedAtMs],
    );
    const items = model.items
      .filter((item) => item.conversation === id && within(reach, item))
      .toSorted((a, b) => a.position - b.position);
    const stored = await store.items(id, { limit: 1000, order: 'oldest-first' });
    expect(stored.map((item) => [item.id, item.position, item.turn])).toEqual(
      items.map((item) => [item.id, item.position, item.turn]),
    );
    const after = items[pick % (items.length + 1)];
    if (after === undefined) return;
    const older = await store.items(id, { limit: 2, order: 'newest-first', after: after.id });
    expect(ids(older)).toEqual(
      ids(
        items
          .filter((item) => item.position < after.position)
          .toReversed()
          .slice(0, 2),
      ),
    );
  },

  async listConversations(model, { reach, store }, pick) {
    const all = model.conversations
      .filter((row) => row.assistant === 'guide' && within(reach, row))
      .toSorted((a, b) => b.updatedAtMs - a.updatedAtMs || (a.id < b.id ? 1 : -1));
    expect(ids(await store.listConversations('guide', { limit: 1000 }))).toEqual(ids(all));
    const after = anId('conversation', model.conversations, pick);
    const from = all.findIndex((row) => row.id === after) + 1;
    const anywhere = model.conversation(reach, after);
    if (from === 0 && anywhere !== undefined) return;
    const page = await store.listConversations('guide', { limit: 2, after });
    expect(ids(page)).toEqual(from === 0 ? [] : ids(all.slice(from, from + 2)));
  },

  async readTurn(model, { reach, store }, pick) {
    const id = anId('turn', model.turns, pick);
    const found = model.turn(reach, id);
    const row = await store.turn(id);
    expect(row && [row.subject, row.state, row.conversation, row.previous]).toEqual(
      found && [found.subject, found.state, found.conversation, found.previous],
    );
    for (const part of ['input', 'output'] as const) {
      const items = model.items.filter((item) => item.turn === id && item.part === part && within(reach, item));
      expect(ids(await store.turnItems(id, part))).toEqual(ids(items));
    }
    const chain = model.chain(reach, id);
    expect(ids(await store.chainItems(id, 1000))).toEqual(chain);
  },
};

/** Runs random commands against the store and the model. Each run has tenants of its own. */
export async function holdsToTheModel(store: Store, runs: number): Promise<void> {
  const command = fc.record({
    step: fc.constantFrom(...Object.keys(steps)),
    caller: fc.nat({ max: 5 }),
    pick: fc.nat({ max: 10_000 }),
  });
  const property = fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 80 }), async (commands) => {
    const model = new Model();
    const callers = [aTenant(), aTenant()].flatMap((tenant): Caller[] =>
      (['ann', 'bob', null] as (SubjectId | null)[]).map((subject) => {
        const reach = { tenant, subject };
        return { reach, subject: subject ?? ('bob' as SubjectId), store: store.reach(reach) };
      }),
    );
    for (const { step, caller, pick } of commands) await steps[step]!(model, callers[caller]!, pick);
  });
  await fc.assert(property, { numRuns: runs, verbose: fc.VerbosityLevel.Verbose });
}
