import { basename, relative, resolve } from 'node:path';
import { Argument, Command } from 'commander';
import colors from 'picocolors';
import { scaffoldAssistant } from '#control';
import type { CommandContext } from './command-context.ts';

export function initCommand(context: CommandContext): Command {
  return new Command('init')
    .description('make a new assistant folder')
    .addArgument(new Argument('<name>', 'name of the assistant, and of the folder'))
    .action(async (name: string) => {
      const folder = resolve(context.cwd, name);
      const files = await scaffoldAssistant(folder, basename(folder));
      const shown = relative(context.cwd, folder) || '.';
      const lines = [
        `Made the assistant ${colors.bold(basename(folder))}:`,
        '',
        ...files.map((file) => `  ${relative(context.cwd, file)}`),
        '',
        'Talk with it:',
        '',
        ...(shown === '.' ? [] : [`  cd ${shown}`]),
        '  npx usher dev',
        '',
      ];
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}
