import { readFileSync } from 'node:fs';
import { ownEnvironment } from '#config';
import type { CommandContext } from './command-context.ts';
import { program } from './program.ts';
import { runProgram } from './run-program.ts';

// The entry of the process: the only place of this room that knows the composition root.
const context: CommandContext = {
  env: ownEnvironment(),
  cwd: process.cwd(),
  version: ownVersion(),
  main: () => import('#main'),
};

process.exitCode = await runProgram(program(context), process.argv.slice(2));

function ownVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version;
}
