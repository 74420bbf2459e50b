import { expect, test } from 'vitest';
import { turnKinds } from './script.ts';
import { runChaos, type Trial } from './run-chaos.ts';

const plan: readonly Trial[] = [
  { fault: 'kill', fleet: 'shared', victim: 'worker' },
  { fault: 'restart', fleet: 'alone', victim: 'worker' },
  { fault: 'restart-database', fleet: 'shared', victim: 'worker' },
  { fault: 'kill', fleet: 'split', victim: 'worker' },
  { fault: 'stop', fleet: 'shared', victim: 'worker' },
  { fault: 'freeze', fleet: 'shared', victim: 'worker' },
  { fault: 'refuse-ends', fleet: 'split', victim: 'worker' },
  { fault: 'kill', fleet: 'split', victim: 'gateway' },
  { fault: 'cut-database', fleet: 'split', victim: 'worker' },
];

test(
  'turns outlive killed and frozen nodes of every role, a database that is cut off or refuses their ends, and a restart',
  { timeout: 300_000 },
  async () => {
    const report = await runChaos({ seed: 20_261_125, plan, freezeMs: 7000, cutMs: 7000 });
    expect(report.problems).toEqual([]);
    const turns = plan.length * turnKinds.length;
    expect(report).toMatchObject({ lostTurns: 0, staleRows: 0, doubledEffects: 0, turns });
    expect(report.resumes).toBeGreaterThan(0);
  },
);
