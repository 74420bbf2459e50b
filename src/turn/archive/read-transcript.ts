import { UsherError, parseId, type Id } from '#base';
import { reachOf, type Principal } from '#access';
import type { Item } from '#conversation';
import type { FeedbackRow, PageRequest, TenantStore, TurnRow } from '#store';
import type { SubjectVault } from '#vault';
import { openSettings } from '../durable/asked-turn.ts';
import { hasMore } from './has-more.ts';
import { openItem } from '../seal-items.ts';
import { isInstruction, shownTo } from './shown-to.ts';
import type { TurnRooms } from '../turn-rooms.ts';

/** A turn as the person sees it again. */
export interface TranscriptTurn extends Pick<
  TurnRow,
  'id' | 'assistant' | 'release' | 'state' | 'reason' | 'startedAtMs'
> {
  /** As the caller sent them with the turn. */
  readonly settings: string;
  readonly feedback: { readonly rating: FeedbackRow['rating']; readonly comment: string | null } | null;
}

/** A page of a conversation with all that its turns came to. */
export interface Transcript {
  readonly id: Id<'conversation'>;
  readonly assistant: string | null;
  readonly title: string | null;
  readonly items: readonly { readonly item: Item; readonly turn: Id<'turn'> | null }[];
  /** Those of the items, each once. */
  readonly turns: readonly TranscriptTurn[];
  readonly hasMore: boolean;
}

/** @throws UsherError `not_found` */
export async function readTranscript(
  rooms: Pick<TurnRooms, 'store' | 'vault'>,
  principal: Principal,
  id: string,
  page: PageRequest,
): Promise<Transcript> {
  const store = rooms.store.reach(reachOf(principal));
  const known = parseId('conversation', id);
  const row = known === undefined ? undefined : await store.conversation(known);
  if (row === undefined) throw new UsherError('not_found', 'There is no such conversation.');
  // One more than asked tells whether there are more, without counting.
  const found = await store.items(row.id, { ...page, limit: page.limit + 1 });
  const shown = found.slice(0, page.limit);
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const turns = [...new Set(shown.flatMap(({ turn }) => (turn === null ? [] : [turn])))];
  const read = await Promise.all(turns.map((turn) => readTurn(store, vault, turn)));
  return {
    id: row.id,
    assistant: row.assistant,
    title: row.title === null ? null : vault.openText({ table: 'conversations', row: `${row.id}/title` }, row.title),
    // A compaction is for models alone, and so are instructions: neither was said to anybody.
    items: shown
      .map((row) => ({ item: shownTo(principal, openItem(vault, row)), turn: row.turn }))
      .filter(({ item }) => item.kind !== 'compaction' && !isInstruction(item)),
    turns: read.filter((turn) => turn !== undefined),
    hasMore: hasMore(found, page.limit),
  };
}

async function readTurn(store: TenantStore, vault: SubjectVault, id: Id<'turn'>): Promise<TranscriptTurn | undefined> {
  const [turn, verdict] = await Promise.all([store.turn(id), store.feedback(id)]);
  if (turn === undefined) return undefined;
  const { assistant, release, state, reason, startedAtMs } = turn;
  const comment = verdict?.comment == null ? null : vault.openText({ table: 'feedback', row: id }, verdict.comment);
  return {
    id,
    assistant,
    release,
    state,
    reason,
    startedAtMs,
    settings: openSettings(vault, id, turn.settings),
    feedback: verdict === undefined ? null : { rating: verdict.rating, comment },
  };
}
