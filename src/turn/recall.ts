import { UsherError } from '#base';
import { textOf, type Item, type MessageItem } from '#conversation';
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
import type { TurnRooms } from './turn-rooms.ts';
import { estimateFreshTokens, estimateTokens } from './context/tokens.ts';
import type { Memory, PlannedTurn, PromptedTurn, RecalledPassage } from './turn-steps.ts';

/** How far back history is read where it is summarised, in context budgets: once what is older is lost. */
const budgetsToCompact = 4;

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
  // An answer in a form of the caller's has no place for marks.
  const sources = turn.request.format === undefined ? shownPassages(turn, memory) : [];
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
  const left =
    spec.context.budgetTokens - headTokens(turn, { summary: undefined, standing }) - estimateFreshTokens(fresh);
  if (left < 0) {
    throw new UsherError(
      'context_too_long',
      `The message is too long for this assistant's context of ${spec.context.budgetTokens} tokens. Send a shorter one.`,
      { param: 'input' },
    );
  }
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
  const asked = askedLast([...before.items, ...spoken]);
  const question = asked === undefined ? '' : textOf(asked.content);
  const forPassages = Math.max(left - summaryTokensOf(before.summary), 0) / 2;
  const passages =
    recalledPassages(turn) ?? fitPassages(await served.search(question, spec.knowledge.passages), forPassages);
  const approved = approvedCalls(before.items, request);
  return { summary: before.summary, past, standing, fresh, passages, question, approved };
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

function fitPassages(passages: readonly RecalledPassage[], budgetTokens: number): readonly RecalledPassage[] {
  let remaining = budgetTokens;
  return passages.filter((passage) => {
    const cost = estimateTokens(passage.text);
    if (cost > remaining) return false;
    remaining -= cost;
    return true;
  });
}
