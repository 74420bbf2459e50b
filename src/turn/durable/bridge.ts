import type { Replayed, TurnEvent } from '#conversation';
import { deltasAheadMax } from './turn-log.ts';

/** Deltas of the open item may have been told that are lost: its numbers are used up. */
export function bridge(from: Replayed, tell: (event: TurnEvent) => unknown): void {
  if (from.open === undefined) return;
  void tell({ type: 'bridged', index: from.open.index, item: from.open.item, count: deltasAheadMax });
}
