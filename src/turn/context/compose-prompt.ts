import type { ModelRequest } from '#backend';
import { textOf, type Item, type MessageItem, type Summary } from '#conversation';
import { fitAnswered } from './fit-answered.ts';
import { fitHistory } from './fit-history.ts';
import type { Passage } from '#release';
import { noHead, promptMessages, withoutEnd } from './prompt-messages.ts';
import { searchesItself } from '../answer/search-tool.ts';
import { estimateFreshTokens, estimateItemTokens, estimateTokens } from './tokens.ts';
import type { Memory, PlannedTurn } from '../turn-steps.ts';

/** What a model is asked, fitted into the assistant's context budget. */
interface Composed {
  readonly prompt: ModelRequest;
  readonly promptTokens: number;
  /** Tokens of all that there is to say, also of what was left out. */
  readonly wantedTokens: number;
  readonly leavesOut: boolean;
}

/** `answered`: what this turn has said, called and learnt so far. The question stays before the model, whatever comes. */
export function composePrompt(turn: PlannedTurn, memory: Memory, answered: readonly Item[] = []): Composed {
  const { budgetTokens } = turn.served.release.spec.context;
  const { past, fresh } = memory;
  const passages = shownPassages(turn, memory);
  const fixedTokens =
    headTokens(turn, memory) + memory.toolTokens + estimateFreshTokens(fresh) + passagesTokens(passages);
  const summaryTokens = summaryTokensOf(memory.summary);
  const pastTokens = tokensOf(past);
  const own = fitAnswered(answered, { budgetTokens, fixedTokens, historyTokens: summaryTokens + pastTokens });
  // It is the oldest that there is, so it goes first.
  const summary = fixedTokens + summaryTokens + own.roomTokens > budgetTokens ? undefined : memory.summary;
  const headAndQuestion = summary === undefined ? fixedTokens : fixedTokens + summaryTokens;
  // What the model will find itself has as much room as what would have been found for it.
  const toFindTokens = searchesItself(turn) ? Math.max(budgetTokens - headAndQuestion, 0) / 2 : 0;
  const reservedTokens = Math.max(toFindTokens, own.roomTokens);
  const kept = fitHistory(past, fresh, budgetTokens - headAndQuestion - reservedTokens);
  // What an application told a conversation once holds for all of it.
  const lasting = partInstructions(kept);
  const head = {
    // The instructions that a summary stands for hold without it, too.
    system: systemText(turn, memory, lasting.standing),
    summary: summary === undefined ? undefined : summaryText(summary),
  };
  const isMarked = turn.request.format === undefined;
  const messages = [
    ...promptMessages(head, [...lasting.spoken, ...fresh], { passages, marks: isMarked ? 'passages' : 'nothing' }),
    ...promptMessages(noHead, own.items, { marks: isMarked ? 'found' : 'nothing' }),
  ];
  return {
    prompt: modelRequest(turn, messages, memory),
    promptTokens: headAndQuestion + tokensOf(kept) + own.tokens,
    wantedTokens: fixedTokens + summaryTokens + pastTokens,
    leavesOut: summary !== memory.summary || headAndQuestion + reservedTokens + pastTokens > budgetTokens || own.isCut,
  };
}

/** Tokens of the instructions that stand before everything whatever is left out. */
export function headTokens(turn: PlannedTurn, memory: Pick<Memory, 'summary' | 'standing'>): number {
  return estimateTokens(systemText(turn, memory, []));
}

export function summaryTokensOf(summary: Summary | undefined): number {
  return summary === undefined ? 0 : estimateTokens(summaryText(summary));
}

export function tokensOf(items: readonly Item[]): number {
  return items.reduce((sum, item) => sum + estimateItemTokens(item), 0);
}

/** An application's instructions apart from what was said: several chat templates take them at the head only. */
export function partInstructions(items: readonly Item[]): { standing: MessageItem[]; spoken: Item[] } {
  const standing: MessageItem[] = [];
  const spoken: Item[] = [];
  for (const item of items) {
    if (item.kind === 'message' && (item.role === 'system' || item.role === 'developer')) standing.push(item);
    else spoken.push(item);
  }
  return { standing, spoken };
}

/** Passages that stand before the model; what it looks for itself does not yet. */
export function shownPassages(turn: PlannedTurn, { passages }: Memory): readonly Passage[] {
  return searchesItself(turn) ? [] : passages;
}

function passagesTokens(passages: readonly Passage[]): number {
  return passages.reduce((sum, passage) => sum + estimateTokens(passage.text), 0);
}

function systemText(
  { served, request }: PlannedTurn,
  { summary, standing }: Pick<Memory, 'summary' | 'standing'>,
  lasting: readonly MessageItem[],
): string {
  const texts = [
    served.release.instructions,
    ...(summary?.standing ?? []),
    ...lasting.map(({ content }) => textOf(content)),
    request.instructions ?? '',
    ...standing.map(({ content }) => textOf(content)),
  ];
  return texts.filter((text) => text !== '').join('\n\n');
}

/** Nothing in it may change from turn to turn: backends cache by the beginning of a prompt. */
function summaryText({ text }: Summary): string {
  return `<summary>\n${withoutEnd('summary', text)}\n</summary>\n\nThis summary stands for the earlier part of our conversation. The rest follows word for word.`;
}

function modelRequest(turn: PlannedTurn, messages: ModelRequest['messages'], memory: Memory): ModelRequest {
  const { request, served } = turn;
  return {
    messages,
    parameters: { ...served.release.spec.parameters, ...request.parameters },
    ...(Object.keys(request.extra).length === 0 ? {} : { extra: request.extra }),
    ...(request.tools.length === 0 ? {} : { tools: request.tools }),
    ...(request.toolChoice === undefined ? {} : { toolChoice: request.toolChoice }),
    ...(request.parallelCalls === undefined ? {} : { parallelCalls: request.parallelCalls }),
    ...(request.format === undefined ? {} : { format: request.format }),
    passages: memory.passages,
    topics: served.topics,
    question: memory.question,
  };
}
