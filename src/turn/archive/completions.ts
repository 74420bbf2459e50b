import { UsherError, type Id } from '#base';
import { reachOf, type Principal } from '#access';
import { noUsage, type Item, type StartedTurn, type TurnOutcome, type Usage } from '#conversation';
import type { PageRequest, TurnRow } from '#store';
import { deleteTurn, readTurnInput } from './archive.ts';
import { openSettings, resealSettings } from '../durable/asked-turn.ts';
import { isBeyond } from './beyond.ts';
import type { cancelTurn } from '../durable/cancel-turn.ts';
import { outcomeOf } from '../durable/follow-turn.ts';
import { noCursor } from './no-cursor.ts';
import { openItem } from '../seal-items.ts';
import { shownTo } from './shown-to.ts';
import type { TurnRooms } from '../turn-rooms.ts';

type CompletionRooms = Pick<TurnRooms, 'store' | 'vault' | 'clock'>;

/** A turn that is listed among the completions, with its answer. */
export interface Completion {
  readonly turn: StartedTurn;
  readonly settings: string;
  readonly items: readonly Item[];
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
}

/** Rows read at a time: what is looked for in settings, which are sealed, is filtered here. */
const rowsPerRead = 100;
/** Rows that one request looks through: a filter that nothing matches is not to open all that a tenant has. */
const rowsMax = 2000;

/** @throws UsherError `not_found` for one that there is not, or that has not ended with an answer */
export async function readCompletion(
  rooms: CompletionRooms,
  principal: Principal,
  id: Id<'turn'>,
): Promise<Completion> {
  return openCompletion(rooms, principal, await completionRow(rooms, principal, id));
}

/**
 * Those that `isWanted`, by age. `last` is the
 * cursor to go on from where the search ended before it had looked at all, or filled the page.
 *
 * @throws UsherError `not_found` for a cursor that is none of theirs
 */
export async function listCompletions(
  rooms: CompletionRooms,
  principal: Principal,
  page: Omit<PageRequest, 'after'> & { readonly after: Id<'turn'> | undefined },
  isWanted: (completion: Pick<Completion, 'turn' | 'settings'>) => boolean,
): Promise<{
  readonly completions: readonly Completion[];
  readonly hasMore: boolean;
  readonly last?: Id<'turn'> | undefined;
}> {
  const store = rooms.store.reach(reachOf(principal));
  const found: TurnRow[] = [];
  let { after } = page;
  if (after !== undefined && !isKnown(principal, await store.turn(after))) throw noCursor();
  let looked = 0;
  for (;;) {
    const { order } = page;
    const rows = await store.completions({ order, limit: rowsPerRead, ...(after === undefined ? {} : { after }) });
    for (const row of rows) {
      if (!isKnown(principal, row)) continue;
      const vault = await rooms.vault.subject(principal.tenant, row.subject);
      if (isWanted({ turn: row, settings: openSettings(vault, row.id, row.settings) })) found.push(row);
    }
    after = rows.at(-1)?.id;
    looked += rows.length;
    if (rows.length < rowsPerRead || found.length > page.limit || looked >= rowsMax) break;
  }
  const isCut = looked >= rowsMax && found.length <= page.limit;
  const shown = found.slice(0, page.limit);
  const completions = await Promise.all(shown.map((row) => openCompletion(rooms, principal, row)));
  return { completions, hasMore: isCut || found.length > page.limit, last: isCut ? after : undefined };
}

export async function readCompletionInput(
  rooms: CompletionRooms,
  principal: Principal,
  id: Id<'turn'>,
): Promise<readonly Item[]> {
  await completionRow(rooms, principal, id);
  return readTurnInput(rooms, principal, id);
}

/** Replaces the caller's settings. */
export async function changeCompletion(
  rooms: CompletionRooms,
  principal: Principal,
  id: Id<'turn'>,
  change: (settings: string) => string,
): Promise<Completion> {
  const row = await completionRow(rooms, principal, id);
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const settings = change(openSettings(vault, id, row.settings));
  const sealed = resealSettings(vault, id, row.settings, settings);
  if (!(await rooms.store.reach(reachOf(principal)).updateTurnSettings(id, sealed))) throw noCompletion();
  return openCompletion(rooms, principal, { ...row, settings: sealed });
}

export async function deleteCompletion(
  rooms: Parameters<typeof cancelTurn>[0],
  principal: Principal,
  id: Id<'turn'>,
): Promise<void> {
  await completionRow(rooms, principal, id);
  await deleteTurn(rooms, principal, id);
}

async function completionRow(rooms: CompletionRooms, principal: Principal, id: Id<'turn'>): Promise<TurnRow> {
  const row = await rooms.store.reach(reachOf(principal)).turn(id);
  if (!isKnown(principal, row)) throw noCompletion();
  return row;
}

function isKnown(principal: Principal, row: TurnRow | undefined): row is TurnRow {
  if (row === undefined || isBeyond(principal, row)) return false;
  return row.completion && (row.state === 'completed' || row.state === 'incomplete');
}

async function openCompletion(rooms: CompletionRooms, principal: Principal, row: TurnRow): Promise<Completion> {
  const vault = await rooms.vault.subject(principal.tenant, row.subject);
  const items = await rooms.store.reach(reachOf(principal)).turnItems(row.id, 'output');
  return {
    turn: row,
    settings: openSettings(vault, row.id, row.settings),
    items: items.map((item) => shownTo(principal, openItem(vault, item))),
    outcome: outcomeOf(row),
    usage: row.usage ?? noUsage,
  };
}

export function noCompletion(): UsherError {
  return new UsherError('not_found', 'There is no such chat completion.');
}
