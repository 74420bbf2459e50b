import { Command } from 'commander';
import { assistantCommand } from './assistant.ts';
import { chatCommand } from './chat.ts';
import type { CommandContext } from './command-context.ts';
import { configCommand } from './config.ts';
import { devCommand } from './dev.ts';
import { doctorCommand } from './doctor.ts';
import { initCommand } from './init.ts';
import { keysCommand } from './keys.ts';
import { modelCommand } from './model.ts';
import { nodesCommand } from './nodes.ts';
import { serveCommand } from './serve.ts';

/** The whole command tree; the command reference is generated from it. */
export function program(context: CommandContext): Command {
  const root = new Command('usher')
    .description('Serves assistants that are declared as folders, over the OpenAI wire.')
    .version(context.version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'print the help of a command')
    .showSuggestionAfterError()
    .addHelpText('after', '\nFirst steps:\n  usher init my-assistant\n  cd my-assistant\n  usher dev\n');
  const commands = [
    serveCommand,
    devCommand,
    initCommand,
    chatCommand,
    keysCommand,
    nodesCommand,
    configCommand,
    assistantCommand,
    modelCommand,
    doctorCommand,
  ];
  for (const make of commands) root.addCommand(make(context));
  return hardened(root);
}

/** Usage errors are thrown instead of ending the process, and end in the mend, for every command of the tree. */
function hardened(command: Command): Command {
  command.exitOverride();
  command.option('--debug', 'print the stack of an error');
  command.helpOption('-h, --help', 'print this help');
  command.configureOutput({
    outputError: (text, write) => write(`usher: ${text.replace(/^error: /, '').trimEnd()}\n`),
  });
  command.showHelpAfterError(`For help: ${pathOf(command)} --help`);
  if (command.parent !== null) command.helpCommand(false);
  for (const child of command.commands) hardened(child);
  return command;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}
