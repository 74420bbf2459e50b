import type { Item } from '#conversation';
import { cutOutput } from './cut-output.ts';
import { estimateFreshTokens, estimateTokens } from './tokens.ts';

/** What a turn has said, called and learnt so far, as it fits into the context. */
interface FittedAnswered {
  readonly items: readonly Item[];
  readonly tokens: number;
  /** What history leaves free for it: in steps, so that a prompt begins the same for several calls of tools. */
  readonly roomTokens: number;
  readonly isCut: boolean;
}

/** Of the context: how much at a time history makes way, and what outputs may take however little is left. */
const stepShare = 1 / 8;
/** Less of an output than this tells a model nothing. */
const outputTokensMin = 32;

/**
 * What this turn has may take all that history does not want, and up to half of what instructions
 * and question leave. Where it is longer, earlier thoughts go first. Then all outputs of tools are
 * cut to the same length: the largest of a half, a quarter, an eighth ... of the context at which
 * they fit. Few lengths, so that the beginning of a prompt, which backends keep, seldom changes.
 */
export function fitAnswered(
  answered: readonly Item[],
  context: { readonly budgetTokens: number; readonly fixedTokens: number; readonly historyTokens: number },
): FittedAnswered {
  if (answered.length === 0) return { items: answered, tokens: 0, roomTokens: 0, isCut: false };
  const { budgetTokens, fixedTokens, historyTokens } = context;
  const leftTokens = Math.max(budgetTokens - fixedTokens, 0);
  const mostTokens = leftTokens - Math.min(historyTokens, leftTokens / 2);
  const whole = estimateFreshTokens(answered) > mostTokens ? withLastThought(answered, mostTokens / 2) : answered;
  let items = whole;
  let tokens = estimateFreshTokens(items);
  // What else a model said and called is not cut: where that alone is too long, outputs keep their share.
  const mostOutputTokens = Math.max(mostTokens - (tokens - outputTokensOf(items)), budgetTokens * stepShare);
  for (let cut = budgetTokens / 2; outputTokensOf(items) > mostOutputTokens && cut >= outputTokensMin; cut /= 2) {
    items = whole.map((item) => cutOutput(item, Math.floor(cut)));
    tokens = estimateFreshTokens(items);
  }
  const fitsBeside = tokens <= leftTokens - historyTokens;
  const roomTokens = fitsBeside ? tokens : inSteps(tokens, budgetTokens, mostTokens);
  return { items, tokens, roomTokens, isCut: items !== answered };
}

/** Models that think between calls want back what led to the last one, where that is not too long itself. */
function withLastThought(items: readonly Item[], tokensMax: number): readonly Item[] {
  const last = items.findLast((item) => item.kind === 'reasoning');
  const kept = last !== undefined && estimateTokens(last.text) <= tokensMax ? last : undefined;
  return items.filter((item) => item.kind !== 'reasoning' || item === kept);
}

function outputTokensOf(items: readonly Item[]): number {
  const outputs = items.map((item) => (item.kind === 'tool' ? (item.output ?? item.error ?? '') : ''));
  return outputs.reduce((sum, output) => sum + estimateTokens(output), 0);
}

function inSteps(tokens: number, budgetTokens: number, mostTokens: number): number {
  const stepTokens = budgetTokens * stepShare;
  return Math.max(tokens, Math.min(Math.ceil(tokens / stepTokens) * stepTokens, mostTokens));
}
