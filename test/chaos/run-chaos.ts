import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom, type Random } from '#base';
import type { UsherProcess } from '#test/process';
import { startFleet, type Fleet, type FleetKind } from './fleet.ts';
import { prepare, turnKinds } from './script.ts';
import { talk, type Talked } from './talk.ts';

export const faults = ['kill', 'stop', 'freeze', 'cut-database', 'restart-database', 'refuse-ends', 'restart'] as const;
export type Fault = (typeof faults)[number];

/** One trial: what breaks, where. A restart is that of the one process over SQLite. */
export interface Trial {
  readonly fault: Fault;
  readonly fleet: FleetKind;
  /** Whom a fault of a node strikes. Where every node does all of it, that is the same. */
  readonly victim: 'worker' | 'gateway';
}

/** What a run came to. */
export interface ChaosReport {
  readonly seed: number;
  readonly trials: number;
  readonly turns: number;
  readonly byFault: Readonly<Record<string, number>>;
  readonly byFleet: Readonly<Record<string, number>>;
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
  /** The trials, in order. */
  readonly plan: readonly Trial[];
  readonly freezeMs: number;
  readonly cutMs: number;
  readonly say?: (line: string) => void;
}

/** The promise: 95 of 100 clients whose connection was lost hear on within this. */
const resumeP95MaxMs = 8000;

/** A plan of so many trials: mostly kills, as the faults of the field are. `both`: half of the clusters have split roles. */
export function planOf(trials: number, seed: number, fleets: 'shared' | 'split' | 'both' = 'both'): readonly Trial[] {
  const random = seededRandom(seed);
  return Array.from({ length: trials }, () => {
    const fault = faultAt(random());
    const [drawn, struck] = [random(), random()];
    const cluster = fleets === 'both' ? (drawn < 0.5 ? 'shared' : 'split') : fleets;
    const victim = struck < 0.65 ? 'worker' : 'gateway';
    return { fault, fleet: fault === 'restart' ? 'alone' : cluster, victim };
  });
}

function faultAt(drawn: number): Fault {
  if (drawn < 0.55) return 'kill';
  if (drawn < 0.64) return 'stop';
  if (drawn < 0.73) return 'freeze';
  if (drawn < 0.8) return 'cut-database';
  if (drawn < 0.86) return 'restart-database';
  return drawn < 0.91 ? 'refuse-ends' : 'restart';
}

interface TrialTalked {
  readonly talked: Talked;
  readonly trial: Trial;
  readonly nth: number;
}

/** Runs every trial of the plan against real processes, the fleets side by side; each has a turn of every kind under way. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const { seed, plan } = options;
  await using stack = new AsyncDisposableStack();
  const fleets = new Map<FleetKind, Fleet>();
  for (const kind of new Set(plan.map(({ fleet }) => fleet))) fleets.set(kind, stack.use(await startFleet(kind)));
  const talked: TrialTalked[] = [];
  const running = [...fleets].map(async ([kind, fleet]) => {
    for (const [nth, trial] of plan.entries()) {
      if (trial.fleet === kind) talked.push(...(await runTrial(fleet, trial, nth, options)));
    }
  });
  await Promise.all(running);
  const opened = [...fleets.values()];
  return reportOf(seed, plan, talked, {
    staleRows: (await Promise.all(opened.map((fleet) => fleet.staleRows()))).reduce((sum, rows) => sum + rows, 0),
    doubledEffects: opened.reduce((sum, fleet) => sum + doubledOf(fleet), 0),
  });
}

async function runTrial(fleet: Fleet, trial: Trial, nth: number, options: ChaosOptions): Promise<TrialTalked[]> {
  const { seed, plan, freezeMs, cutMs, say = () => {} } = options;
  const random = seededRandom(seed + nth);
  const victims = trial.victim === 'worker' ? fleet.workers : fleet.doors;
  const victim = victims[Math.floor(random() * victims.length)]!;
  const scripts = await Promise.all(turnKinds.map((kind, index) => prepare(fleet, kind, nth * 10 + index)));
  // The first client of all talks to the node that is struck, where that has a door.
  const first = Math.max(fleet.doors.indexOf(victim), 0);
  const struck = Promise.withResolvers<void>();
  const talks = scripts.map((script, index) => talk(fleet, script, first + index, struck.promise));
  await strike(fleet, trial.fault, { node: victim, random, freezeMs, cutMs, struck: () => struck.resolve() });
  const results = await Promise.all(talks);
  const found = results.flatMap(({ kind, problems }) => problems.map((problem) => `${kind}: ${problem}`));
  say(`${nth + 1}/${plan.length} ${nameOf(trial)}: ${found.join('; ') || 'whole'}`);
  return results.map((one) => ({ talked: one, trial, nth }));
}

const nameOf = ({ fault, fleet, victim }: Trial): string =>
  `${fault} (${fleet}${fleet === 'split' && ['kill', 'stop', 'freeze'].includes(fault) ? `, a ${victim}` : ''})`;

async function strike(
  fleet: Fleet,
  fault: Fault,
  how: {
    readonly node: UsherProcess;
    readonly random: Random;
    readonly freezeMs: number;
    readonly cutMs: number;
    /** The blow has fallen. */
    readonly struck: () => void;
  },
): Promise<void> {
  const { node, struck } = how;
  await delay(how.random() * 1200);
  switch (fault) {
    case 'kill':
    case 'restart':
      await node.kill('SIGKILL');
      struck();
      await node.restart();
      return;
    case 'stop': {
      // As an upgrade does, node by node: what is not over in its time is left to others.
      const stopped = node.kill('SIGTERM');
      struck();
      await stopped;
      await node.restart();
      return;
    }
    case 'freeze':
      process.kill(-node.pid, 'SIGSTOP');
      struck();
      await delay(how.freezeMs);
      process.kill(-node.pid, 'SIGCONT');
      return;
    case 'cut-database':
      fleet.proxy?.set('both', { blackhole: true });
      struck();
      await delay(how.cutMs);
      fleet.proxy?.set('both', {});
      fleet.proxy?.reset();
      return;
    case 'restart-database':
      // Connections break and are refused, for less than any lease: nobody takes a turn over.
      await fleet.proxy?.setListening(false);
      fleet.proxy?.reset();
      struck();
      await delay(500 + how.random() * 1500);
      await fleet.proxy?.setListening(true);
      return;
    case 'refuse-ends':
      // Their nodes live, and run other turns: these are let go of, and gone on with by whoever can.
      await fleet.refuseEnds?.(true);
      struck();
      await delay(500 + how.random() * 2000);
      await fleet.refuseEnds?.(false);
  }
}

/**
 * A tool that is not idempotent takes effect once at the most; one that is may be asked again, but as
 * the same call.
 */
function doubledOf({ tools }: Fleet): number {
  return [...tools.effects].filter(([effect, keys]) => {
    return effect.startsWith('/reserve ') ? new Set(keys).size > 1 : keys.length > 1;
  }).length;
}

function reportOf(
  seed: number,
  plan: readonly Trial[],
  all: readonly TrialTalked[],
  counts: Pick<ChaosReport, 'staleRows' | 'doubledEffects'>,
): ChaosReport {
  const problems = all.flatMap(({ talked, trial, nth }) =>
    talked.problems.map((problem) => `trial ${nth + 1}, ${nameOf(trial)}, ${talked.kind}: ${problem}`),
  );
  // A node that sleeps, or a database that is away, is waited for: the promise is about nodes that die.
  const resumed = all.flatMap(({ talked: { resumedMs }, trial }) =>
    trial.fault === 'kill' && resumedMs !== undefined ? [resumedMs] : [],
  );
  const sorted = resumed.toSorted((one, other) => one - other);
  const at = (share: number): number =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  const resumeP95Ms = at(0.95);
  return {
    seed,
    trials: plan.length,
    turns: all.length,
    byFault: countBy(plan.map(({ fault }) => fault)),
    byFleet: countBy(plan.map(({ fleet }) => fleet)),
    byKind: countBy(all.map(({ talked }) => talked.kind)),
    lostTurns: all.filter(({ talked }) => talked.problems.some((one) => /^(never ended|ended as)/.test(one))).length,
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
