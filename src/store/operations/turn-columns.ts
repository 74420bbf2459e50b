import type { TurnOutcome, Usage } from '#conversation';

export interface UsageColumns {
  inputTokens: number;
  cachedInputTokens: number;
  outputTokens: number;
  reasoningTokens: number;
  usageEstimated: number;
}

export function usageColumns({ estimated, ...counts }: Usage): UsageColumns {
  return { ...counts, usageEstimated: estimated ? 1 : 0 };
}

export function reasonOf(outcome: TurnOutcome): string | null {
  switch (outcome.state) {
    case 'completed':
    case 'incomplete':
      return outcome.reason;
    case 'failed':
      return outcome.code;
    case 'cancelled':
      return null;
  }
}
