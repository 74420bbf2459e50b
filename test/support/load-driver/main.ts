// Drives one load. The plan: one JSON object as the only argument. Prints {"ready":true}, its
// progress five times a second, and last {"report":…}. A line on its standard input stops the load.
import { createInterface } from 'node:readline';
import { driveLoad } from './drive-load.ts';
import type { LoadPlan } from './load-plan.ts';

const print = (value: unknown): void => {
  process.stdout.write(`${JSON.stringify(value)}\n`);
};

const drive = driveLoad(JSON.parse(process.argv[2] ?? '{}') as LoadPlan);
print({ ready: true });
process.stdin.on('end', () => process.exit(1));
createInterface({ input: process.stdin }).on('line', () => drive.stop());
const ticker = setInterval(() => print({ progress: drive.progress() }), 200);
print({ report: await drive.report });
clearInterval(ticker);
process.stdin.destroy();
