import type { Item } from '#conversation';
import { cutOutput } from './cut-output.ts';
import { estimateFreshTokens } from './tokens.ts';

/** What a turn has said, called and learnt so far, as it fits into the context. */
interface FittedAnswered {
  readonly items: readonly Item[];
  readonly tokens: number;
  /** What history leaves free for it: in steps, so that a prompt begins the same for several calls of tools. */
  readonly roomTokens: number;
  readonly isCut: boolean;
}

/** Of the context: how much at a time history makes way. */
const stepShare = 1 / 8;
/** Less of an output than this tells a model nothing. */
const outputTokensMin = 32;

/**
 * Outputs of tools may take all that history does not want, and up to half of what instructions and
 * question leave. Where they are longer, all are cut to the same length: the largest of a half, a
 * quarter, an eighth ... of the context at which they fit. Few lengths, so that the beginning of a
 * prompt, which backends keep, seldom changes.
 */
export function fitAnswered(
  answered: readonly Item[],
  context: { readonly budgetTokens: number; readonly fixedTokens: number; readonly historyTokens: number },
): FittedAnswered {
  if (answered.length === 0) return { items: answered, tokens: 0, roomTokens: 0, isCut: false };
  const { budgetTokens, fixedTokens, historyTokens } = context;
  const leftTokens = Math.max(budgetTokens - fixedTokens, 0);
  const mostTokens = leftTokens - Math.min(historyTokens, leftTokens / 2);
  let items = answered;
  let tokens = estimateFreshTokens(items);
  for (let cut = budgetTokens / 2; tokens > mostTokens && cut >= outputTokensMin; cut /= 2) {
    items = answered.map((item) => cutOutput(item, Math.floor(cut)));
    tokens = estimateFreshTokens(items);
  }
  const fitsBeside = tokens <= leftTokens - historyTokens;
  const roomTokens = fitsBeside ? tokens : inSteps(tokens, budgetTokens, mostTokens);
  return { items, tokens, roomTokens, isCut: items !== answered };
}

function inSteps(tokens: number, budgetTokens: number, mostTokens: number): number {
  const stepTokens = budgetTokens * stepShare;
  return Math.max(tokens, Math.min(Math.ceil(tokens / stepTokens) * stepTokens, mostTokens));
}
