import { CommanderError, type Command } from 'commander';
import { describeFailure } from './command-context.ts';

/** Runs one command line. Answers the exit code: 0, 1 for a failure, 2 for a command line that is wrong. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<number> {
  try {
    await program.parseAsync(argv, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`${describeFailure(error, argv.includes('--debug'))}\n`);
    return 1;
  }
}
