import type { Id } from '#base';
import type { CompactionItem, Item, ItemId, Summary } from '#conversation';
import type { ItemRow, TenantStore } from '#store';
import type { SubjectVault } from '#vault';
import { openItem } from '../seal-items.ts';
import { openSummary } from './seal-for-caller.ts';
import { cutOutput } from './cut-output.ts';
import { estimateItemTokens } from './tokens.ts';
import type { PlannedTurn } from '../turn-steps.ts';

/** Rows read from the store at a time: a turn costs by its context budget, not by its history. */
const historyPage = 100;
/** A chain is read from its end anew for each further page, so pages grow. */
const chainGrowth = 4;
const chainItemsMax = 10_000;

/** What was said before a turn, oldest first, after what its newest compaction covers. */
export interface Past {
  readonly summary: Summary | undefined;
  readonly items: readonly Item[];
}

/** Newest first until the newest compaction has what it does not cover, or the budget is spent. Outputs of tools are cut. */
export async function readPast(
  store: TenantStore,
  turn: Pick<PlannedTurn, 'id'> & {
    readonly request: Pick<PlannedTurn['request'], 'previous' | 'replaces'>;
    readonly conversation: { readonly id: Id<'conversation'> } | undefined;
  },
  vault: SubjectVault,
  { budgetTokens, outputTokensMax }: { readonly budgetTokens: number; readonly outputTokensMax: number },
): Promise<Past> {
  const { previous, replaces } = turn.request;
  const pages =
    previous !== undefined
      ? chainPages(store, previous)
      : turn.conversation !== undefined
        ? conversationPages(store, turn.conversation.id, await standing(store, turn.conversation.id, replaces))
        : [];
  const backwards = new Backwards(vault, budgetTokens);
  for await (const page of pages) {
    for (const row of page) {
      if (backwards.isOver) return backwards.past;
      // A turn that is gone on with: its own items are its input, and come after this.
      if (row.turn !== turn.id) backwards.take(cutOutput(openItem(vault, row), outputTokensMax));
    }
  }
  return backwards.past;
}

/** What an input says of what came before it: a caller may keep a conversation itself, with its compactions. */
export function splitAtCompaction(
  vault: SubjectVault | undefined,
  input: readonly Item[],
): { readonly summary: Summary | undefined; readonly said: readonly Item[] } {
  const at = input.findLastIndex(({ kind }) => kind === 'compaction');
  const compaction = input[at];
  if (compaction?.kind !== 'compaction' || vault === undefined) return { summary: undefined, said: input };
  return { summary: openSummary(vault, compaction), said: input.slice(at + 1) };
}

/** Takes items from the newest back. */
class Backwards {
  readonly #vault: SubjectVault;
  #remainingTokens: number;
  readonly #newestFirst: Item[] = [];
  #compaction: CompactionItem | undefined;
  #summary: Summary | undefined;
  /** Items newer than the compaction. */
  #newer = 0;
  #isCoverMet = false;
  /** A compaction covers all that stands before it. */
  #isRestCovered = false;

  constructor(vault: SubjectVault, budgetTokens: number) {
    this.#vault = vault;
    this.#remainingTokens = budgetTokens;
  }

  get isOver(): boolean {
    return this.#remainingTokens < 0 || this.#isCoverMet || this.#isRestCovered;
  }

  take(item: Item): void {
    if (item.id === this.#compaction?.covers) {
      this.#isCoverMet = true;
      return;
    }
    if (item.kind === 'compaction') {
      this.#takeCompaction(item);
      return;
    }
    this.#newestFirst.push(item);
    this.#remainingTokens -= estimateItemTokens(item);
  }

  #takeCompaction(item: CompactionItem): void {
    const isNewest = this.#compaction === undefined;
    if (isNewest) {
      this.#compaction = item;
      this.#summary = openSummary(this.#vault, item);
      this.#newer = this.#newestFirst.length;
    }
    // What came from a caller with all that is before it stands nowhere else; an older one of ours is covered by the newer.
    if (item.covers !== null) return;
    this.#isRestCovered = true;
    const { recent } = isNewest ? this.#summary! : openSummary(this.#vault, item);
    for (const each of recent.toReversed()) {
      if (!this.#isCoverMet) this.take(each);
    }
  }

  get past(): Past {
    const summary = this.#summary;
    // Where the last item that is covered was deleted, what is not covered are those of the others that are still there.
    const uncovered =
      this.#isCoverMet || summary === undefined ? undefined : new Set(summary.recent.map(({ id }) => id));
    const items = this.#newestFirst.filter(({ id }, nth) => nth < this.#newer || (uncovered?.has(id) ?? true));
    return { summary, items: items.toReversed() };
  }
}

/** What is to be replaced, as long as it is there: once its turn has begun it is gone. */
async function standing(
  store: TenantStore,
  conversation: Id<'conversation'>,
  replaces: ItemId | undefined,
): Promise<ItemId | undefined> {
  return replaces === undefined ? undefined : (await store.item(conversation, replaces))?.id;
}

/** Newest first, from the one before `after` on. */
export async function* conversationPages(
  store: TenantStore,
  conversation: Id<'conversation'>,
  after?: ItemId,
): AsyncGenerator<readonly ItemRow[]> {
  for (;;) {
    const rows = await store.items(conversation, {
      limit: historyPage,
      order: 'newest-first',
      ...(after === undefined ? {} : { after }),
    });
    yield rows;
    if (rows.length < historyPage) return;
    after = rows.at(-1)?.id;
  }
}

async function* chainPages(store: TenantStore, last: Id<'turn'>): AsyncGenerator<readonly ItemRow[]> {
  let known = 0;
  for (let most = historyPage; most <= chainItemsMax; most *= chainGrowth) {
    const rows = await store.chainItems(last, most);
    yield rows.slice(0, rows.length - known).toReversed();
    if (rows.length < most) return;
    known = rows.length;
  }
}
