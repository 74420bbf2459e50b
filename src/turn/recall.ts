import type { FunctionTool } from '#backend';
import { shown, UsherError } from '#base';
import { textOf, type Item, type MessageItem, type ResultItem } from '#conversation';
import type { Passage } from '#release';
import type { SubjectVault } from '#vault';
import { approvedCalls } from './answer/approvals.ts';
import { compactAtTokens } from './context/compact-at.ts';
import {
  composePrompt,
  headTokens,
  partInstructions,
  shownPassages,
  summaryTokensOf,
} from './context/compose-prompt.ts';
import { cutOutput } from './context/cut-output.ts';
import { readPast, splitAtCompaction } from './context/read-past.ts';
import { openItem } from './seal-items.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { estimateFreshTokens, estimateTokens, estimateToolTokens } from './context/tokens.ts';
import type { Memory, PlannedTurn, PromptedTurn, RecalledPassage } from './turn-steps.ts';

/** How far back history is read where it is summarised, in context budgets: once what is older is lost. */
const budgetsToCompact = 4;

/** Of what is added to a conversation while a person is waited for: the newest that a model reads. */
const addedMax = 100;

/** Of the context: what one output of a tool may take of it once its turn is over. A whole one would push out all that was said. */
const pastOutputShare = 1 / 8;

/**
 * Step 3: history, knowledge and instructions within the assistant's context budget. Knowledge may
 * take up to half of what instructions and the new input leave; history takes the rest. Where nothing
 * is to be answered, all that was said is history.
 *
 * @throws UsherError `context_too_long` when the new input alone does not fit, or the caller wants nothing left out
 */
export async function recall(rooms: TurnRooms, turn: PlannedTurn, isToAnswer = true): Promise<PromptedTurn> {
  const vault = await vaultOf(rooms, turn);
  const memory = await remember(rooms, turn, vault, isToAnswer);
  const { prompt, promptTokens, leavesOut } = composePrompt(turn, memory);
  if (leavesOut && turn.request.whenFull === 'refuse' && compactAtTokens(turn) === undefined) throw pastTooLong();
  const sources = sourcesOf(turn, memory);
  const recalled = memory.passages.map(({ row }) => row);
  return { ...turn, request: { ...turn.request, recalled }, prompt, sources, promptTokens, memory, vault };
}

export function pastTooLong(): UsherError {
  return new UsherError(
    'context_too_long',
    'The conversation is too long for this assistant’s context. Send "truncation": "auto" to have the oldest of it left out, or begin a new one.',
    { param: 'truncation' },
  );
}

async function remember(
  rooms: TurnRooms,
  turn: PlannedTurn,
  vault: SubjectVault | undefined,
  isToAnswer: boolean,
): Promise<Memory> {
  const { request, served, reach } = turn;
  const { spec } = served.release;
  const { summary, said } = splitAtCompaction(vault, request.input);
  const { standing, spoken } = partInstructions(said);
  const { older, fresh } = isToAnswer ? splitAtQuestion(spoken) : { older: spoken, fresh: [] };
  const toolTokens = estimateToolTokens(request.tools);
  const left = leftTokens(turn, { standing, fresh, toolTokens });
  if (left < 0) throw inputTooLong(turn, toolTokens);
  const budgetTokens = compactAtTokens(turn) === undefined ? left : left * budgetsToCompact;
  const outputTokensMax =
    request.whenFull === 'refuse' ? Infinity : Math.floor(spec.context.budgetTokens * pastOutputShare);
  const before =
    summary !== undefined
      ? { summary, items: summary.recent }
      : vault === undefined
        ? { summary, items: [] }
        : await readPast(rooms.store.reach(reach), turn, vault, { budgetTokens, outputTokensMax });
  const past = [...before.items, ...older].map((item) => cutOutput(item, outputTokensMax));
  refuseLooseResults([...past, ...fresh], fresh);
  const asked = askedLast([...before.items, ...spoken]);
  const question = asked === undefined ? '' : textOf(asked.content);
  const found = recalledPassages(turn) ?? (await served.search(question, spec.knowledge.passages));
  const passages = fitPassages(found, left - summaryTokensOf(before.summary));
  const approved = approvedCalls(before.items, request);
  return { summary: before.summary, past, standing, fresh, passages, toolTokens, question, approved };
}

/** What instructions, functions and question leave of the context; below 0 where they do not fit themselves. */
function leftTokens(
  turn: PlannedTurn,
  { standing, fresh, toolTokens }: Pick<Memory, 'standing' | 'fresh' | 'toolTokens'>,
): number {
  const { budgetTokens } = turn.served.release.spec.context;
  return budgetTokens - headTokens(turn, { summary: undefined, standing }) - toolTokens - estimateFreshTokens(fresh);
}

function inputTooLong(turn: PlannedTurn, toolTokens: number): UsherError {
  const { budgetTokens } = turn.served.release.spec.context;
  const mend = toolTokens > budgetTokens / 2 ? 'Send fewer functions' : 'Send a shorter one';
  const what = toolTokens > 0 ? 'The message is, with the functions sent along,' : 'The message is';
  return new UsherError(
    'context_too_long',
    `${what} too long for this assistant's context of ${budgetTokens} tokens. ${mend}.`,
    { param: toolTokens > budgetTokens / 2 ? 'tools' : 'input' },
  );
}

/** The assistant's own functions take their part of the context, too, once it is known which they are. */
export function makeRoomFor(functions: readonly FunctionTool[], turn: PromptedTurn): PromptedTurn {
  if (functions.length === 0) return turn;
  const toolTokens = turn.memory.toolTokens + estimateToolTokens(functions);
  const left = leftTokens(turn, { ...turn.memory, toolTokens });
  const passages = fitPassages(turn.memory.passages, left - summaryTokensOf(turn.memory.summary));
  const memory = { ...turn.memory, toolTokens, passages };
  const { prompt, promptTokens } = composePrompt(turn, memory);
  return { ...turn, memory, prompt, promptTokens, sources: sourcesOf(turn, memory) };
}

/**
 * With what was added to the conversation while a person was waited for who does not answer: the newest
 * of it is what the assistant is to answer.
 */
export async function recallAdded({ store }: Pick<TurnRooms, 'store'>, turn: PromptedTurn): Promise<PromptedTurn> {
  const { memory, reach, vault } = turn;
  const { conversation } = turn.request;
  if (conversation === undefined || vault === undefined) return turn;
  const known = new Set<string>(memory.fresh.map(({ id }) => id));
  const rows = await store.reach(reach).items(conversation, { limit: addedMax, order: 'newest-first' });
  const asked = rows.findIndex(({ id }) => known.has(id));
  const added = (asked === -1 ? rows : rows.slice(0, asked))
    .filter((row) => row.turn !== turn.id)
    .map((row) => openItem(vault, row))
    .filter(({ kind }) => kind === 'message')
    .toReversed();
  if (added.length === 0) return turn;
  const isAdded = new Set<string>(added.map(({ id }) => id));
  // A turn that was taken over has read them as past already.
  const past = memory.past.filter(({ id }) => !isAdded.has(id));
  const { standing, spoken } = partInstructions(added);
  const { older, fresh } = splitAtQuestion([...memory.fresh, ...spoken]);
  const told = { ...memory, past: [...past, ...older], standing: [...memory.standing, ...standing], fresh };
  const { prompt, promptTokens } = composePrompt(turn, told);
  return { ...turn, memory: told, prompt, promptTokens };
}

/** An answer in a form of the caller's has no place for marks. */
function sourcesOf(turn: PlannedTurn, memory: Memory): readonly Passage[] {
  return turn.request.format === undefined ? shownPassages(turn, memory) : [];
}

/** Content that is kept, read back or compacted lies under the subject's key; a turn of none of these needs none. */
async function vaultOf(rooms: TurnRooms, turn: PlannedTurn): Promise<SubjectVault | undefined> {
  const { request, reach, subject } = turn;
  const needed =
    request.stored ||
    request.conversation !== undefined ||
    request.previous !== undefined ||
    compactAtTokens(turn) !== undefined ||
    request.sealsReasoning ||
    request.input.some(({ kind }) => kind === 'compaction');
  return needed ? rooms.vault.subject(reach.tenant, subject) : undefined;
}

/** `fresh` from the last thing that a person said on (it must be answered, so it must fit), and the `older` rest. */
function splitAtQuestion(spoken: readonly Item[]): { older: readonly Item[]; fresh: readonly Item[] } {
  const lastUser = spoken.findLastIndex((item) => item.kind === 'message' && item.role === 'user');
  const cut = Math.max(lastUser, 0);
  return { older: spoken.slice(0, cut), fresh: spoken.slice(cut) };
}

/** A model's server takes no result without its call, and says so in words that tell nobody which. @throws UsherError `invalid_request` */
function refuseLooseResults(said: readonly Item[], fresh: readonly Item[]): void {
  const called = new Set(said.filter((item) => item.kind === 'call').map(({ callId }) => callId));
  const loose = fresh.find((item): item is ResultItem => item.kind === 'result' && !called.has(item.callId));
  if (loose === undefined) return;
  throw new UsherError(
    'invalid_request',
    `There is a result of the call "${shown(loose.callId)}", and no such call before it that the context holds. Send the call too, or follow the response that made it.`,
    { param: 'input' },
  );
}

/** What a person asked last; what follows it may be results of calls alone. */
export function askedLast(items: readonly Item[]): MessageItem | undefined {
  return items.findLast((item): item is MessageItem => item.kind === 'message' && item.role === 'user');
}

function recalledPassages({ request, served }: PlannedTurn): readonly RecalledPassage[] | undefined {
  return request.recalled?.flatMap((row) => {
    const passage = served.release.passages[row];
    return passage === undefined ? [] : [{ ...passage, row }];
  });
}

/** Knowledge may take half of what is left. */
function fitPassages(passages: readonly RecalledPassage[], leftTokens: number): readonly RecalledPassage[] {
  let remaining = leftTokens / 2;
  return passages.filter((passage) => {
    const cost = estimateTokens(passage.text);
    if (cost > remaining) return false;
    remaining -= cost;
    return true;
  });
}
