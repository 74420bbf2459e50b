import { UsherError, type Id } from '#base';
import type { CompactionItem, Item, Usage } from '#conversation';
import { admit } from '../admit.ts';
import { Answer } from '../answer/answer.ts';
import { askSummary, summaryTokens } from './ask-summary.ts';
import { compactAtTokens } from './compact-at.ts';
import { cutPast, newCompaction, standingOf, toBringBack } from './compact.ts';
import { partInstructions } from './compose-prompt.ts';
import { recall } from '../recall.ts';
import { record } from '../record.ts';
import { resolve } from '../resolve.ts';
import type { TurnRooms } from '../turn-rooms.ts';
import type { TurnRequest } from '../turn-steps.ts';

/** What a caller goes on from who keeps a conversation itself. */
export interface CompactedInput {
  readonly id: Id<'turn'>;
  readonly createdAtMs: number;
  /** The newest of what persons said, for the caller to show: the compaction holds it too. */
  readonly said: readonly Item[];
  readonly compaction: CompactionItem;
  readonly usage: Usage;
}

/**
 * Everything that was said, as one compaction. It counts as a turn whose content is not kept.
 *
 * @throws UsherError as a turn would, before and after it started
 */
export async function compactInput(rooms: TurnRooms, asked: TurnRequest, left: AbortSignal): Promise<CompactedInput> {
  const request: TurnRequest = { ...asked, stored: false, compaction: { thresholdTokens: undefined } };
  const planned = await resolve(rooms, { ...admit(rooms, asked, true), request });
  try {
    const turn = await recall(rooms, planned, false);
    const { vault, memory } = turn;
    const thresholdTokens = compactAtTokens(turn);
    if (vault === undefined || thresholdTokens === undefined) throw tooSmall();
    const whole = [...memory.past, ...memory.standing];
    if (whole.length === 0 && memory.summary === undefined) throw nothingSaid();
    const last = cutPast(whole, thresholdTokens);
    // What would fit as it is, is summarised all the same: the caller wants it so.
    const { covered, kept } = last.covered.length === 0 ? { covered: whole, kept: [] } : last;
    const { text, dispatched } = await askSummary(rooms, turn, {
      earlier: memory.summary,
      items: partInstructions(covered).spoken,
      tokensMax: summaryTokens(thresholdTokens),
      signal: AbortSignal.any([left, rooms.stopping]),
    });
    await record(rooms, turn, {
      answer: new Answer(() => undefined),
      answered: dispatched,
      kept: undefined,
    });
    const { outcome, usage } = dispatched;
    if (text === undefined) throw noSummary(outcome);
    const standing = standingOf(memory, covered, thresholdTokens);
    const compaction = newCompaction(vault, { text, standing, recent: toBringBack(kept) }, null);
    const said = last.kept.filter((item) => item.kind === 'message' && item.role === 'user');
    return { id: turn.id, createdAtMs: turn.startedAtMs, said, compaction, usage };
  } finally {
    planned.release();
  }
}

function tooSmall(): UsherError {
  return new UsherError('invalid_request', 'This assistant’s context is too small for a summary. Ask another one.', {
    param: 'model',
  });
}

function nothingSaid(): UsherError {
  return new UsherError('invalid_request', 'Nothing was said. Send "input" or "previous_response_id".', {
    param: 'input',
  });
}

function noSummary(outcome: Awaited<ReturnType<typeof askSummary>>['dispatched']['outcome']): UsherError {
  if (outcome.state === 'cancelled') return new UsherError('client_gone', 'The listener left.');
  if (outcome.state === 'failed') return new UsherError(outcome.code, outcome.message);
  return new UsherError('backend_broken', 'The model wrote no summary. Repeat the request, or ask for another model.');
}
