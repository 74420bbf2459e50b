import { Argument, Command } from 'commander';
import colors from 'picocolors';
import { formatProblem } from '#base';
import type { Reload } from '#control';
import { describeFailure, type CommandContext } from './command-context.ts';
import { configOption, dataOption, hostOption, jsonOption, portOption } from './options.ts';
import { openServer, type ServeOptions } from './serve.ts';
import { stopRequest } from './stop-request.ts';

export function devCommand(context: CommandContext): Command {
  return new Command('dev')
    .description('serve an assistant folder and reload it on every save')
    .addArgument(new Argument('[folder]', 'the assistant folder (default: this one, or what usher.yaml names)'))
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(hostOption())
    .addOption(portOption())
    .addOption(jsonOption('print one line of JSON when it serves'))
    .action(async (folder: string | undefined, options: ServeOptions) => {
      const stopped = stopRequest();
      const usher = await openServer(
        context,
        { ...options, watch: true },
        folder === undefined ? {} : { assistant: folder },
      );
      const watching = await usher.watch({
        onReload: (reload) => void process.stderr.write(describeReload(reload)),
        onFailure: (error) => void process.stderr.write(`${describeFailure(error, false)}\n`),
      });
      await stopped;
      await watching[Symbol.asyncDispose]();
      await usher.close();
    });
}

/** One line for what is served anew; for what does not hold, every problem with its line. */
function describeReload({ loaded, rejected }: Reload): string {
  const good = loaded.map(
    ({ assistant, environment, digest }) =>
      `${colors.green('reloaded')} ${nameOf(assistant, environment)} ${colors.dim(digest.slice(0, 'sha256:'.length + 12))}`,
  );
  const bad = rejected.flatMap(({ assistant, environment, problems }) => [
    `${colors.red('not reloaded')} ${nameOf(assistant, environment)}: the last good one serves on`,
    ...problems.map((problem) => formatProblem(problem).replaceAll(/^/gm, '  ')),
  ]);
  return [...good, ...bad].map((line) => `${line}\n`).join('');
}

function nameOf(assistant: string, environment: string): string {
  return environment === 'production' ? assistant : `${assistant}@${environment}`;
}
