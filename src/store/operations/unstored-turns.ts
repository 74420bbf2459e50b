import type { TurnState } from '#conversation';
import { insertQuery, type Session } from '../query.ts';
import type { UnstoredTurn } from '../store.ts';
import { reasonOf, usageColumns, type UsageColumns } from './turn-columns.ts';

type FlatUnstored = Omit<UnstoredTurn, 'usage' | 'outcome'> &
  UsageColumns & { readonly state: TurnState; readonly reason: string | null };

const insertUnstored = insertQuery<FlatUnstored>((db, rows) =>
  db.insertInto('unstored_turns').values(
    rows.map((row) => ({
      tenant: row.tenant,
      id: row.id,
      subject: row.subject,
      assistant: row.assistant,
      environment: row.environment,
      release: row.release,
      state: row.state,
      reason: row.reason,
      backend: row.backend,
      input_tokens: row.inputTokens,
      cached_input_tokens: row.cachedInputTokens,
      output_tokens: row.outputTokens,
      reasoning_tokens: row.reasoningTokens,
      usage_estimated: row.usageEstimated,
      started_at_ms: row.startedAtMs,
      finished_at_ms: row.finishedAtMs,
    })),
  ),
);

export const recordUnstoredTurns = (session: Session, turns: readonly UnstoredTurn[]): Promise<void> =>
  insertUnstored(
    session,
    turns.map(({ usage, outcome, ...rest }) => ({
      ...rest,
      ...usageColumns(usage),
      state: outcome.state,
      reason: reasonOf(outcome),
    })),
  );
