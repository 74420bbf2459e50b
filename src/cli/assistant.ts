import { Command } from 'commander';
import { assistantJsonSchema } from '#release';
import type { CommandContext } from './command-context.ts';

export function assistantCommand(_context: CommandContext): Command {
  return new Command('assistant')
    .description('print the schema of assistant.yaml')
    .addCommand(
      new Command('schema')
        .description('print the JSON Schema of assistant.yaml, for editors')
        .action(() => void process.stdout.write(`${JSON.stringify(assistantJsonSchema(), undefined, 2)}\n`)),
    );
}
