import { UsherError } from '#base';
import type { ModelRequest } from '#backend';
import { textOf, type Item, type MessageItem } from '#conversation';
import type { Passage } from '#release';
import type { ItemRow } from '#store';
import type { SubjectVault } from '#vault';
import { fitHistory } from './fit-history.ts';
import { promptMessages } from './prompt-messages.ts';
import { searchesItself } from './search-tool.ts';
import type { TurnRooms } from './turn-rooms.ts';
import { openItem } from './seal-items.ts';
import { estimateItemTokens, estimateTokens } from './tokens.ts';
import type { PlannedTurn, PromptedTurn } from './turn-steps.ts';

/** Rows read from the store at a time: a turn costs by its context budget, not by its history. */
const historyPage = 100;

/**
 * Step 3: history, knowledge and instructions within the assistant's context budget. Knowledge may
 * take up to half of what instructions and the new input leave; history takes the rest.
 *
 * @throws UsherError `context_too_long` when the new input alone does not fit
 */
export async function recall(rooms: TurnRooms, turn: PlannedTurn): Promise<PromptedTurn> {
  const { request, served } = turn;
  const { spec, instructions } = served.release;
  const vault = await vaultOf(rooms, turn);
  const { standing, spoken } = partInstructions(request.input);
  const { older, fresh } = splitAtQuestion(spoken);
  const own = [request.instructions ?? '', ...standing];
  const freshTokens = fresh.reduce((sum, item) => sum + estimateItemTokens(item), 0);
  const left = spec.context.budgetTokens - estimateTokens(systemText([instructions, ...own])) - freshTokens;
  if (left < 0) {
    throw new UsherError(
      'context_too_long',
      `The message is too long for this assistant's context of ${spec.context.budgetTokens} tokens. Send a shorter one.`,
      { param: 'input' },
    );
  }
  const history = await readHistory(rooms, turn, vault, left);
  const question = questionOf([...history, ...spoken]);
  const passages = fitPassages(await served.search(question, spec.knowledge.passages), left / 2);
  // What the model looks for itself has as much room, and is not before it yet.
  const shown = searchesItself(turn) ? [] : passages;
  const shownTokens = shown.reduce((sum, passage) => sum + estimateTokens(passage.text), 0);
  const historyBudget = left - (searchesItself(turn) ? left / 2 : shownTokens);
  const kept = fitHistory([...history, ...older], fresh, historyBudget);
  // What an application told a conversation once holds for all of it.
  const lasting = partInstructions(kept);
  const system = systemText([instructions, ...lasting.standing, ...own]);
  const sources = request.format === undefined ? shown : [];
  const messages = promptMessages(system, [...lasting.spoken, ...fresh], {
    passages: shown,
    marks: request.format === undefined ? 'passages' : 'nothing',
  });
  const prompt = modelRequest(turn, messages, passages, question);
  const promptTokens =
    spec.context.budgetTokens - left + shownTokens + kept.reduce((sum, item) => sum + estimateItemTokens(item), 0);
  return { ...turn, prompt, sources, promptTokens, vault };
}

/** Content that is kept, or read back, lies under the subject's key; a turn of neither needs none. */
async function vaultOf(rooms: TurnRooms, turn: PlannedTurn): Promise<SubjectVault | undefined> {
  const { request, reach, subject } = turn;
  const needed = request.stored || request.conversation !== undefined || request.previous !== undefined;
  return needed ? rooms.vault.subject(reach.tenant, subject) : undefined;
}

function systemText(instructions: readonly string[]): string {
  return instructions.filter((text) => text !== '').join('\n\n');
}

/** An application's instructions apart from what was said: several chat templates take them at the head only. */
function partInstructions(items: readonly Item[]): { standing: string[]; spoken: Item[] } {
  const standing: string[] = [];
  const spoken: Item[] = [];
  for (const item of items) {
    if (item.kind === 'message' && (item.role === 'system' || item.role === 'developer'))
      standing.push(textOf(item.content));
    else spoken.push(item);
  }
  return { standing, spoken };
}

/** `fresh` from the last thing that a person said on (it must be answered, so it must fit), and the `older` rest. */
function splitAtQuestion(spoken: readonly Item[]): { older: readonly Item[]; fresh: readonly Item[] } {
  const lastUser = spoken.findLastIndex((item) => item.kind === 'message' && item.role === 'user');
  const cut = Math.max(lastUser, 0);
  return { older: spoken.slice(0, cut), fresh: spoken.slice(cut) };
}

/** What a person asked last; what follows it may be results of calls alone. */
function questionOf(items: readonly Item[]): string {
  const asked = items.findLast((item): item is MessageItem => item.kind === 'message' && item.role === 'user');
  return asked === undefined ? '' : textOf(asked.content);
}

function fitPassages(passages: readonly Passage[], budgetTokens: number): readonly Passage[] {
  let remaining = budgetTokens;
  return passages.filter((passage) => {
    const cost = estimateTokens(passage.text);
    if (cost > remaining) return false;
    remaining -= cost;
    return true;
  });
}

/** Newest pages first until the budget is spent; answered oldest first. */
async function readHistory(
  rooms: TurnRooms,
  turn: PlannedTurn,
  vault: SubjectVault | undefined,
  budgetTokens: number,
): Promise<readonly Item[]> {
  if (vault === undefined) return [];
  const store = rooms.store.reach(turn.reach);
  if (turn.request.previous !== undefined) {
    const rows = await store.chainItems(turn.request.previous, historyPage);
    return rows.map((row) => openItem(vault, row));
  }
  if (turn.conversation === undefined) return [];
  const newestFirst: Item[] = [];
  let remaining = budgetTokens;
  let after: string | undefined;
  while (remaining > 0) {
    const rows: readonly ItemRow[] = await store.items(turn.conversation.id, {
      limit: historyPage,
      order: 'newest-first',
      ...(after === undefined ? {} : { after }),
    });
    for (const row of rows) {
      // A turn that is gone on with: its own items are its input, and come after this.
      if (row.turn === turn.id) continue;
      const item = openItem(vault, row);
      newestFirst.push(item);
      remaining -= estimateItemTokens(item);
    }
    after = rows.at(-1)?.id;
    if (rows.length < historyPage) break;
  }
  return newestFirst.toReversed();
}

function modelRequest(
  turn: PlannedTurn,
  messages: ModelRequest['messages'],
  passages: readonly Passage[],
  question: string,
): ModelRequest {
  const { request, served } = turn;
  return {
    messages,
    parameters: { ...served.release.spec.parameters, ...request.parameters },
    ...(Object.keys(request.extra).length === 0 ? {} : { extra: request.extra }),
    ...(request.tools.length === 0 ? {} : { tools: request.tools }),
    ...(request.toolChoice === undefined ? {} : { toolChoice: request.toolChoice }),
    ...(request.parallelCalls === undefined ? {} : { parallelCalls: request.parallelCalls }),
    ...(request.format === undefined ? {} : { format: request.format }),
    passages,
    topics: served.topics,
    question,
  };
}
