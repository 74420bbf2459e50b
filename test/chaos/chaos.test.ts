import { expect, test } from 'vitest';
import { runChaos } from './run-chaos.ts';

test(
  'turns outlive killed and frozen nodes, a database that is cut off, and a restart',
  { timeout: 300_000 },
  async () => {
    const plan = ['kill', 'restart', 'kill', 'freeze', 'cut-database'] as const;
    const report = await runChaos({ seed: 20_261_125, plan, freezeMs: 7000, cutMs: 7000 });
    expect(report.problems).toEqual([]);
    expect(report).toMatchObject({ lostTurns: 0, staleRows: 0, doubledEffects: 0, turns: 25 });
    expect(report.resumes).toBeGreaterThan(0);
  },
);
