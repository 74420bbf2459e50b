import { parseArgs } from 'node:util';
import { planOf, runChaos } from './run-chaos.ts';

/*
 * npm run chaos -- --trials 200 --json
 *
 * Three real processes over one real PostgreSQL, and one over SQLite; each trial breaks something in
 * the middle of five turns and holds every promise against what their clients saw. Ends with 1 where
 * one did not hold. `--seed` replays the choices of a run.
 */
const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    json: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed);
const say = values.json ? undefined : (line: string) => process.stdout.write(`${line}\n`);
if (!values.json) process.stdout.write(`seed ${seed}\n`);
const plan = planOf(Number(values.trials), seed);
const report = await runChaos({ seed, plan, freezeMs: 20_000, cutMs: 15_000, ...(say && { say }) });
process.stdout.write(`${JSON.stringify(report, undefined, values.json ? undefined : 2)}\n`);
process.exitCode = report.ok ? 0 : 1;
