import type { Item } from '#conversation';
import { estimateItemTokens } from './tokens.ts';

/**
 * The newest items of `older` that fit into `budgetTokens`, in their order. Oldest are left out
 * first; a result whose call was left out goes too, since no model accepts one without the other.
 * `fresh` is what follows: it may hold the results of calls in `older`.
 */
export function fitHistory(older: readonly Item[], fresh: readonly Item[], budgetTokens: number): readonly Item[] {
  let remaining = budgetTokens;
  let start = older.length;
  while (start > 0) {
    const cost = estimateItemTokens(older[start - 1]!);
    if (cost > remaining) break;
    remaining -= cost;
    start -= 1;
  }
  return closeCalls(older.slice(start), fresh);
}

/** Drops results without their call and calls without their result: either makes the request invalid. */
function closeCalls(items: readonly Item[], fresh: readonly Item[]): readonly Item[] {
  const called = new Set(items.filter((item) => item.kind === 'call').map((item) => item.callId));
  const answered = new Set([...items, ...fresh].filter((item) => item.kind === 'result').map((item) => item.callId));
  return items.filter((item) => {
    // One that was cut short stays: it is put before the model as cancelled.
    if (item.kind === 'call') return answered.has(item.callId) || item.status === 'incomplete';
    if (item.kind === 'result') return called.has(item.callId);
    return true;
  });
}
