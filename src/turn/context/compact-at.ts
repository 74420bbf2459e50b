import { compactBudgetMin } from '#release';
import type { PlannedTurn } from '../turn-steps.ts';

/**
 * The tokens of a context beyond which its older part is summarised; undefined where it never is. A
 * caller who sends the history each time has to ask for it: one who does not give compactions back
 * would pay for a new one with every turn.
 */
export function compactAtTokens({ request, served }: PlannedTurn): number | undefined {
  const { budgetTokens, whenFull, compactAt } = served.release.spec.context;
  const isKeptHere = request.conversation !== undefined || request.previous !== undefined;
  const byOwner = isKeptHere && request.whenFull === undefined && whenFull === 'compact';
  if ((request.compaction === undefined && !byOwner) || budgetTokens < compactBudgetMin) return undefined;
  return Math.min(request.compaction?.thresholdTokens ?? budgetTokens * compactAt, budgetTokens);
}
