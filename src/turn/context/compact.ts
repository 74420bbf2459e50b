import { newId } from '#base';
import {
  noUsage,
  textOf,
  type CompactionItem,
  type ContentPart,
  type Item,
  type Replayed,
  type Summary,
  type Usage,
} from '#conversation';
import type { SubjectVault } from '#vault';
import type { Answer } from '../answer/answer.ts';
import { askSummary, summaryTokens } from './ask-summary.ts';
import { compactAtTokens } from './compact-at.ts';
import { composePrompt, partInstructions, tokensOf } from './compose-prompt.ts';
import type { Dispatched } from '../dispatch.ts';
import { pastTooLong } from '../recall.ts';
import { openSummary, sealSummary } from './seal-for-caller.ts';
import { estimateTokens } from './tokens.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { Memory, PromptedTurn } from '../turn-steps.ts';

/** Shares of the tokens beyond which a conversation is compacted. Together they leave room to go on for a while. */
const shares = {
  /** The last exchanges, which stay word for word. */
  kept: 0.3,
  /** What a summary has to free to be worth a model's time. */
  worthwhile: 0.2,
  standing: 0.1,
} as const;

/** All images of what stays word for word together, in characters of their data URLs. */
const imageCharactersMax = 1_000_000;

/** How a turn goes on; `ended` where it cannot. */
export interface Compacted {
  readonly turn: PromptedTurn;
  readonly usage: Usage;
  readonly ended?: Pick<Dispatched, 'outcome'>;
}

/**
 * Before the answer: where there is more to say than the threshold allows, a model summarises the
 * older part. The compaction is told as an item of the answer once it is durable; a turn that is
 * taken over finds it there. Without a summary the turn goes on as if none had been wanted.
 */
export async function compact(
  rooms: TurnRooms,
  turn: PromptedTurn,
  work: {
    readonly answer: Answer;
    readonly from: Replayed;
    readonly signal: AbortSignal;
    /** A person answers, and reads all of it themselves. */
    readonly isForPerson: boolean;
  },
): Promise<Compacted> {
  const { answer, from, signal, isForPerson } = work;
  const thresholdTokens = compactAtTokens(turn);
  if (thresholdTokens === undefined || turn.vault === undefined) return { turn, usage: noUsage };
  const made = answer.earlierItems.find((item) => item.kind === 'compaction');
  // Its usage is in that of the steps before.
  if (made !== undefined) {
    return { turn: withSummary(turn, openSummary(turn.vault, made), made.covers), usage: noUsage };
  }
  if (isForPerson) return { turn, usage: noUsage };
  const hasBegun = from.nextIndex > 0 || from.steps > 0;
  const cut = hasBegun ? undefined : cutOf(turn, thresholdTokens);
  if (cut === undefined) return unlessRefused(turn, noUsage);
  const tokensMax = summaryTokens(thresholdTokens);
  const startedMs = rooms.clock.monotonicMs();
  const earlier = turn.memory.summary;
  const asked = await askSummary(rooms, turn, {
    earlier,
    items: partInstructions(cut.covered).spoken,
    tokensMax,
    signal,
  });
  const { text, dispatched } = asked;
  const { usage, outcome } = dispatched;
  if (outcome.state === 'cancelled') return { turn, usage, ended: { outcome } };
  rooms.telemetry.compacted({
    turn: turn.id,
    assistant: turn.served.assistant,
    result: text === undefined ? 'failed' : 'done',
    code: outcome.state === 'failed' ? outcome.code : undefined,
    durationMs: rooms.clock.monotonicMs() - startedMs,
  });
  if (text === undefined) return unlessRefused(turn, usage);
  const { standing, fresh } = turn.memory;
  const summary: Summary = {
    text,
    standing: standingOf(turn.memory, cut.covered, thresholdTokens),
    recent: toBringBack([...cut.kept, ...standing, ...fresh]),
  };
  const covers = cut.covered.at(-1)?.id ?? null;
  await answer.compact(newCompaction(turn.vault, summary, covers), usage);
  return { turn: withSummary(turn, summary, covers), usage };
}

export function newCompaction(vault: SubjectVault, summary: Summary, covers: CompactionItem['covers']): CompactionItem {
  return {
    kind: 'compaction',
    id: newId('compaction'),
    sealed: sealSummary(vault, summary),
    covers,
    status: 'completed',
  };
}

/** Everything is left out that has no place; a caller who wants to know of it is told. */
function unlessRefused(turn: PromptedTurn, usage: Usage): Compacted {
  if (turn.request.whenFull !== 'refuse' || !composePrompt(turn, turn.memory).leavesOut) return { turn, usage };
  return { turn, usage, ended: pastRefused() };
}

/** How a turn ends whose caller wants nothing left out. */
export function pastRefused(): Pick<Dispatched, 'outcome'> {
  const { code, message } = pastTooLong();
  return { outcome: { state: 'failed', code, message } };
}

/** The turn as it goes on after what `covers` ends. */
function withSummary(turn: PromptedTurn, summary: Summary, covers: CompactionItem['covers']): PromptedTurn {
  const { past } = turn.memory;
  const memory = { ...turn.memory, summary, past: past.slice(past.findIndex(({ id }) => id === covers) + 1) };
  const { prompt, promptTokens } = composePrompt(turn, memory);
  return { ...turn, memory, prompt, promptTokens };
}

interface Cut {
  readonly covered: readonly Item[];
  readonly kept: readonly Item[];
}

/** Where the older part ends; undefined where nothing is to be compacted. */
function cutOf(turn: PromptedTurn, thresholdTokens: number): Cut | undefined {
  if (composePrompt(turn, turn.memory).wantedTokens <= thresholdTokens) return undefined;
  const cut = cutPast(turn.memory.past, thresholdTokens);
  return tokensOf(cut.covered) < thresholdTokens * shares.worthwhile ? undefined : cut;
}

/** What is kept are whole exchanges: it begins with what a person said. */
export function cutPast(past: readonly Item[], thresholdTokens: number): Cut {
  let remaining = thresholdTokens * shares.kept;
  let from = past.length;
  for (let index = past.length - 1; index >= 0; index -= 1) {
    const item = past[index]!;
    remaining -= tokensOf([item]);
    if (remaining < 0) break;
    if (item.kind === 'message' && item.role === 'user') from = index;
  }
  return { covered: past.slice(0, from), kept: past.slice(from) };
}

/** The newest that fit: what was said last holds. */
export function standingOf(
  { summary }: Pick<Memory, 'summary'>,
  covered: readonly Item[],
  thresholdTokens: number,
): readonly string[] {
  const said = partInstructions(covered).standing.map(({ content }) => textOf(content));
  let remaining = thresholdTokens * shares.standing;
  const newestFirst = new Set([...(summary?.standing ?? []), ...said].toReversed());
  const fitting = [...newestFirst].filter((text) => {
    remaining -= estimateTokens(text);
    return remaining >= 0;
  });
  return fitting.toReversed();
}

/**
 * Items as a caller may bring them back: of images the newest that fit, others are named only; and no
 * requests for approval, since one that comes back could be approved again and again, nor thoughts,
 * which no later turn reads.
 */
export function toBringBack(items: readonly Item[]): readonly Item[] {
  let remaining = imageCharactersMax;
  const named = (part: ContentPart): ContentPart => {
    if (part.type !== 'image') return part;
    remaining -= part.url.length;
    return remaining < 0 ? { type: 'text', text: '[an image]' } : part;
  };
  const light = (item: Item): Item => (item.kind === 'message' ? { ...item, content: item.content.map(named) } : item);
  const left = new Set<Item['kind']>(['approval-request', 'approval', 'reasoning']);
  const lasting = items.filter(({ kind }) => !left.has(kind));
  return lasting.toReversed().map(light).toReversed();
}
