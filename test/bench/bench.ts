// npm run bench -- proxy|stream|stored|durable|memory|soak [--json] [--seconds n] [--only usher|nginx] [--profile folder]
// Measures the real program before the model simulator, beside nginx in the same run. Linux only:
// processor time and memory are read from /proc. Load goes to 127.0.0.1 and is bounded.
import { cpus } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { eachSubject, type Bench, type BenchRun } from './bench-run.ts';
import { benchDurable } from './bench-durable.ts';
import { benchMemory } from './bench-memory.ts';
import { benchProxy } from './bench-proxy.ts';
import { benchSoak } from './bench-soak.ts';
import { benchStored } from './bench-stored.ts';
import { benchStream } from './bench-stream.ts';
import { figureTable, isOver } from './figure.ts';
import { startBenchSimulator } from './subject.ts';

const benches: Readonly<Record<string, Bench>> = {
  proxy: benchProxy,
  stream: benchStream,
  stored: benchStored,
  durable: benchDurable,
  memory: benchMemory,
  soak: benchSoak,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '10' },
    profile: { type: 'string' },
    only: { type: 'string', default: 'usher,nginx' },
  },
});

const only = new Set(values.only.split(','));
const run: BenchRun = {
  seconds: Math.min(4 * 3600, Math.max(1, Math.floor(Number(values.seconds)))),
  simulator: startBenchSimulator,
  eachSubject: eachSubject(only, values.profile === undefined ? undefined : resolve(values.profile)),
};

const unknown = positionals.filter((name) => benches[name] === undefined);
if (process.platform !== 'linux' || unknown.length > 0 || Number.isNaN(run.seconds)) {
  process.stderr.write(`usage, on Linux: npm run bench -- ${Object.keys(benches).join('|')} [--json] [--seconds n]\n`);
  process.exit(2);
}

// An interrupt ends what was started, by the exit hooks of those who started it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

for (const name of positionals.length === 0 ? Object.keys(benches) : positionals) {
  const figures = await benches[name]!(run);
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version };
  if (values.json) process.stdout.write(`${JSON.stringify({ bench: name, seconds: run.seconds, machine, figures })}\n`);
  else
    process.stdout.write(
      `${name}, ${run.seconds} s, ${machine.cpus} cores, Node ${machine.node}\n${figureTable(figures)}\n`,
    );
  if (figures.some(isOver)) process.exitCode = 1;
}
