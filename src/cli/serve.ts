import { Command } from 'commander';
import type { Flags } from '#config';
import { announce } from './announce.ts';
import { configured, type CommandContext, type ConfigOptions, type RunningUsher } from './command-context.ts';
import { withFreePort } from './free-port.ts';
import { configOption, dataOption, hostOption, jsonOption, portOption } from './options.ts';
import { untilStopped } from './until-stopped.ts';

export interface ServeOptions extends ConfigOptions {
  readonly host?: string;
  readonly port?: number;
  readonly json?: boolean;
}

export function serveCommand(context: CommandContext): Command {
  return new Command('serve')
    .description('serve the configured assistants: the chat page, the widget and the API')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(hostOption())
    .addOption(portOption())
    .addOption(jsonOption('print one line of JSON when it serves'))
    .action(async (options: ServeOptions) => untilStopped(await openServer(context, options)));
}

/** Opens the server that options and configuration ask for, and says so. */
export async function openServer(
  context: CommandContext,
  options: ServeOptions,
  flags: Flags = {},
): Promise<RunningUsher> {
  const { config, secrets } = await configured(context, options, {
    ...flags,
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(options.port === undefined ? {} : { port: options.port }),
  });
  const { openUsher } = await context.main();
  const placed = await withFreePort(config);
  const usher = await openUsher({ config: placed, secrets, version: context.version });
  const moved = placed.listen.port === config.listen.port ? undefined : config.listen.port;
  process.stdout.write(
    announce({ usher, config: placed, version: context.version, moved, json: options.json === true }),
  );
  return usher;
}
