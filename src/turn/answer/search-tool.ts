import type { FunctionTool } from '#backend';
import {
  isSearchId,
  searchFound,
  searchQueries,
  searchSource,
  searchTool,
  writeFound,
  type FoundPassage,
  type ToolItem,
} from '#conversation';
import type { ScoredPassage } from '#release';
import type { Answer } from './answer.ts';
import { estimateItemTokens, estimateTokens } from '../context/tokens.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { PlannedTurn, PromptedTurn } from '../turn-steps.ts';

/** What the model is offered where it searches the assistant's knowledge itself. */
export const searchFunction: FunctionTool = {
  name: searchTool,
  description:
    "Searches the assistant's own documents and returns the passages that fit best. Call it before you answer what they may tell; search again with other words where it found nothing of use.",
  parameters: {
    type: 'object',
    properties: { query: { type: 'string', description: 'What to look for, in the words that a document would use.' } },
    required: ['query'],
    additionalProperties: false,
  },
};

/** Whether the model looks for passages itself: as the assistant's owner or the caller wants it. */
export function searchesItself({ request, served }: Pick<PlannedTurn, 'request' | 'served'>): boolean {
  const { spec, passages } = served.release;
  if (passages.length === 0 || spec.knowledge.passages === 0) return false;
  return spec.knowledge.search === 'tool' || request.fileSearch !== undefined;
}

export function isSearch({ id }: ToolItem): boolean {
  return isSearchId(id);
}

/** Looks for what the model asked; what it found is the call's output, each passage under a number of its own. */
export async function runSearch(
  { clock, telemetry }: Pick<TurnRooms, 'clock' | 'telemetry'>,
  turn: PromptedTurn,
  answer: Answer,
  item: ToolItem,
): Promise<Pick<ToolItem, 'output' | 'error'>> {
  const startMs = clock.monotonicMs();
  const [query] = searchQueries(item);
  const found = query === undefined ? undefined : await find(turn, answer, query);
  telemetry.toolCalled({
    tenant: turn.reach.tenant,
    assistant: turn.served.assistant,
    source: searchSource,
    tool: searchTool,
    result: found === undefined ? 'refused' : 'done',
    durationMs: clock.monotonicMs() - startMs,
  });
  if (found === undefined)
    return { output: null, error: 'The call has no "query". Send {"query": "what to look for"}.' };
  return { output: writeFound(found), error: null };
}

async function find(turn: PromptedTurn, answer: Answer, query: string): Promise<readonly FoundPassage[]> {
  const { spec } = turn.served.release;
  const { resultsMax = spec.knowledge.passages, scoreMin = 0 } = turn.request.fileSearch ?? {};
  const found = await turn.served.search(query, resultsMax);
  const best = found[0]?.score ?? 1;
  const first = turn.sources.length + 1 + countFound(answer);
  return fitting(found, roomTokens(turn, answer))
    .map(({ source, title, text, score }, at) => ({ number: first + at, source, title, text, score: score / best }))
    .filter(({ score }) => score >= scoreMin);
}

/** How many passages this turn's searches have found so far. */
function countFound({ items }: Answer): number {
  const counts = items.map((item) => (item.kind === 'tool' ? (searchFound(item)?.length ?? 0) : 0));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Half of what is left of the context, so that there is room for another search. */
function roomTokens(turn: PromptedTurn, { items }: Answer): number {
  const used = items.reduce((sum, item) => sum + estimateItemTokens(item), turn.promptTokens);
  return (turn.served.release.spec.context.budgetTokens - used) / 2;
}

/** As many of the best as fit, and always the best. */
function fitting(found: readonly ScoredPassage[], room: number): readonly ScoredPassage[] {
  let used = 0;
  return found.filter(({ text }, at) => {
    const cost = estimateTokens(text);
    if (at > 0 && used + cost > room) return false;
    used += cost;
    return true;
  });
}
