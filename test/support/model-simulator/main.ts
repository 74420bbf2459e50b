// Runs one simulated model server. Options: one JSON object as the only argument. Prints one line,
// {"url":…,"control":…}, and lives until its standard input ends, so that no test leaves one behind.
import { readOptions } from './options.ts';
import { SimulatorServer } from './simulator-server.ts';

const given = JSON.parse(process.argv[2] ?? '{}') as Record<string, unknown>;
const server = new SimulatorServer(readOptions(given));
process.stdout.write(`${JSON.stringify(await server.start())}\n`);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
