import { Command, Option } from 'commander';
import type { Role } from '#cluster';
import type { Config, Flags } from '#config';
import type { WatchOptions } from '#control';
import { announce } from './announce.ts';
import {
  CommandFailure,
  configured,
  describeFailure,
  type CommandContext,
  type ConfigOptions,
  type RunningUsher,
} from './command-context.ts';
import { withFreePort } from './free-port.ts';
import { configOption, dataOption, hostOption, jsonOption, portOption, roleOption } from './options.ts';
import { addressOf, noteServedAddress } from './served-address.ts';
import { stopRequest } from './stop-request.ts';

export interface ServeOptions extends ConfigOptions {
  readonly host?: string;
  readonly port?: number;
  readonly role?: readonly Role[];
  /** Whether the assistant folders shall be reloaded on every save. */
  readonly watch?: boolean;
  readonly json?: boolean;
}

export function serveCommand(context: CommandContext): Command {
  return new Command('serve')
    .description('serve the configured assistants: the chat page, the widget and the API')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(hostOption())
    .addOption(portOption())
    .addOption(roleOption())
    .addOption(new Option('--watch', 'reload assistants on every save, and publish them to all nodes'))
    .addOption(jsonOption('print one line of JSON when it serves'))
    .action(async (options: ServeOptions) => {
      const stopped = stopRequest();
      const usher = await openServer(context, options);
      const watching = options.watch === true ? await usher.watch(quietly) : undefined;
      await stopped;
      await watching?.[Symbol.asyncDispose]();
      await usher.close();
    });
}

const noFolders =
  'a node without the role control reads no assistant folders; add that role, or edit them where a control node runs';

/** The log tells of each reload; what kept one from being tried is for whoever reads the terminal. */
const quietly: WatchOptions = {
  onReload: () => undefined,
  onFailure: (error) => void process.stderr.write(`${describeFailure(error, false)}\n`),
};

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
    ...(options.role === undefined ? {} : { roles: options.role }),
  });
  if (options.watch === true && !config.roles.includes('control')) throw new CommandFailure(noFolders);
  const { openUsher } = await context.main();
  const placed = await withFreePort(options.json === true ? config : quietAtTerminal(config));
  const usher = await openUsher({ config: placed, secrets, version: context.version });
  const moved = placed.listen.port === config.listen.port ? undefined : config.listen.port;
  process.stdout.write(
    announce({ usher, config: placed, version: context.version, moved, json: options.json === true }),
  );
  const note = noteServedAddress(placed.dataDir, localUrl(placed, usher.url));
  return {
    ...usher,
    close: async () => {
      note[Symbol.dispose]();
      await usher.close();
    },
  };
}

/** How this machine reaches it, whatever others call it. */
function localUrl(config: Config, url: string): string {
  return config.listen.publicUrl === undefined ? url : addressOf(config);
}

/** A person reads the banner; lines of JSON about each request would bury it. */
function quietAtTerminal(config: Config): Config {
  const loud = process.stderr.isTTY && config.telemetry.logLevel === 'info';
  return loud ? { ...config, telemetry: { ...config.telemetry, logLevel: 'warn' } } : config;
}
