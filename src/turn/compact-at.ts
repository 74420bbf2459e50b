import type { PlannedTurn } from './turn-steps.ts';

/** The tokens of a context beyond which its older part is summarised; undefined where it never is. */
export function compactAtTokens({ request, served }: PlannedTurn): number | undefined {
  const { budgetTokens, whenFull, compactAt } = served.release.spec.context;
  if (request.compaction === undefined && (request.whenFull ?? whenFull) !== 'compact') return undefined;
  return Math.min(request.compaction?.thresholdTokens ?? budgetTokens * compactAt, budgetTokens);
}
