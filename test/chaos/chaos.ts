import { parseArgs } from 'node:util';
import { planOf, runChaos } from './run-chaos.ts';

/*
 * npm run chaos -- --trials 200 --json [--fleet shared|split|both]
 *
 * Three real processes over one real PostgreSQL, four with split roles over another, and one over
 * SQLite; each trial breaks something in the middle of eight turns and holds every promise against
 * what their clients saw. Ends with 1 where one did not hold. `--seed` replays the choices of a run.
 */
const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '20' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    fleet: { type: 'string', default: 'both' },
    json: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed);
// Apart from the report, so that it can be read by a program while a person sees how far the run is.
const say = (line: string): void => void process.stderr.write(`${line}\n`);
say(`seed ${seed}`);
const { fleet } = values;
if (fleet !== 'shared' && fleet !== 'split' && fleet !== 'both') throw new Error('--fleet is shared, split or both');
const plan = planOf(Number(values.trials), seed, fleet);
const report = await runChaos({ seed, plan, freezeMs: 20_000, cutMs: 15_000, say });
process.stdout.write(`${JSON.stringify(report, undefined, values.json ? undefined : 2)}\n`);
process.exitCode = report.ok ? 0 : 1;
