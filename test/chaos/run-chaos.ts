import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom, type Random } from '#base';
import { startFleet, type Fleet } from './fleet.ts';
import { talk, type Talked, type TurnKind } from './talk.ts';

export const faults = ['kill', 'freeze', 'cut-database', 'restart'] as const;
export type Fault = (typeof faults)[number];

/** What a run came to. */
export interface ChaosReport {
  readonly seed: number;
  readonly trials: number;
  readonly turns: number;
  readonly byFault: Readonly<Record<string, number>>;
  readonly byKind: Readonly<Record<string, number>>;
  readonly lostTurns: number;
  readonly staleRows: number;
  readonly doubledEffects: number;
  readonly resumes: number;
  readonly resumeP50Ms: number;
  readonly resumeP95Ms: number;
  readonly problems: readonly string[];
  readonly ok: boolean;
}

export interface ChaosOptions {
  readonly seed: number;
  /** The faults of the trials, in order. */
  readonly plan: readonly Fault[];
  readonly freezeMs: number;
  readonly cutMs: number;
  readonly say?: (line: string) => void;
}

/** The promise: 95 of 100 clients whose connection was lost hear on within this. */
const resumeP95MaxMs = 8000;
const kinds: readonly TurnKind[] = ['streamed', 'background', 'background-streamed', 'tool', 'idempotent-tool'];

/** A plan of so many trials: mostly kills, as the faults of the field are. */
export function planOf(trials: number, seed: number): readonly Fault[] {
  const random = seededRandom(seed);
  return Array.from({ length: trials }, () => {
    const drawn = random();
    if (drawn < 0.7) return 'kill';
    if (drawn < 0.8) return 'freeze';
    return drawn < 0.87 ? 'cut-database' : 'restart';
  });
}

/** Runs every trial of the plan against real processes; each has a turn of every kind under way. */
export async function runChaos({ seed, plan, freezeMs, cutMs, say = () => {} }: ChaosOptions): Promise<ChaosReport> {
  const random = seededRandom(seed);
  await using cluster = plan.some((fault) => fault !== 'restart') ? await startFleet('postgres') : undefined;
  await using alone = plan.includes('restart') ? await startFleet('sqlite') : undefined;
  const talked: (Talked & { readonly fault: Fault; readonly trial: number })[] = [];
  for (const [trial, fault] of plan.entries()) {
    const fleet = fault === 'restart' ? alone! : cluster!;
    const target = Math.floor(random() * fleet.nodes.length);
    const talks = kinds.map((kind, index) =>
      talk(fleet, kind, index === 0 ? target : target + index, trial * 10 + index),
    );
    await strike(fleet, fault, { target, random, freezeMs, cutMs });
    const results = await Promise.all(talks);
    talked.push(...results.map((one) => ({ ...one, fault, trial })));
    say(`${trial + 1}/${plan.length} ${fault}: ${results.flatMap(({ problems }) => problems).join('; ') || 'whole'}`);
  }
  return reportOf(seed, plan, talked, {
    staleRows: (await cluster?.staleRows()) ?? 0,
    doubledEffects: [cluster, alone].reduce((sum, fleet) => sum + doubledOf(fleet), 0),
  });
}

async function strike(
  fleet: Fleet,
  fault: Fault,
  how: { readonly target: number; readonly random: Random; readonly freezeMs: number; readonly cutMs: number },
): Promise<void> {
  const node = fleet.nodes[how.target]!;
  await delay(how.random() * 1200);
  switch (fault) {
    case 'kill':
    case 'restart':
      await node.kill('SIGKILL');
      await node.restart();
      return;
    case 'freeze':
      process.kill(-node.pid, 'SIGSTOP');
      await delay(how.freezeMs);
      process.kill(-node.pid, 'SIGCONT');
      return;
    case 'cut-database':
      fleet.proxy?.set('both', { blackhole: true });
      await delay(how.cutMs);
      fleet.proxy?.set('both', {});
      fleet.proxy?.reset();
  }
}

/** A tool that is not idempotent takes effect once at the most. */
function doubledOf(fleet: Fleet | undefined): number {
  if (fleet === undefined) return 0;
  return [...fleet.tools.hits].filter(([key, hits]) => key.startsWith('/book ') && hits > 1).length;
}

function reportOf(
  seed: number,
  plan: readonly Fault[],
  talked: readonly (Talked & { readonly fault: Fault; readonly trial: number })[],
  counts: Pick<ChaosReport, 'staleRows' | 'doubledEffects'>,
): ChaosReport {
  const problems = talked.flatMap(({ fault, kind, trial, problems: found }) =>
    found.map((problem) => `trial ${trial} (${fault}, ${kind}): ${problem}`),
  );
  // A node that sleeps, or a database that is away, is waited for: the promise is about nodes that die.
  const resumed = talked.flatMap(({ resumedMs, fault }) =>
    fault === 'kill' && resumedMs !== undefined ? [resumedMs] : [],
  );
  const sorted = resumed.toSorted((one, other) => one - other);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  const resumeP95Ms = at(0.95);
  return {
    seed,
    trials: plan.length,
    turns: talked.length,
    byFault: countBy(plan),
    byKind: countBy(talked.map(({ kind }) => kind)),
    lostTurns: talked.filter(({ problems: found }) => found.some((one) => /^(never ended|ended as)/.test(one))).length,
    ...counts,
    resumes: resumed.length,
    resumeP50Ms: at(0.5),
    resumeP95Ms,
    problems,
    ok: problems.length === 0 && counts.staleRows === 0 && counts.doubledEffects === 0 && resumeP95Ms <= resumeP95MaxMs,
  };
}

function countBy(names: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}
