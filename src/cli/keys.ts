import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { parseId, systemClock } from '#base';
import { scopes, type Scope, type TenantId } from '#access';
import { manageKeys, recordRotation, rotateRoot, type ApiKeyView, type KeyManagement } from '#control';
import { CommandFailure, configured, type CommandContext, type ConfigOptions } from './command-context.ts';
import { configOption, dataOption, jsonOption } from './options.ts';
import { textTable } from './text-table.ts';

interface TenantOptions extends ConfigOptions {
  readonly tenant?: string;
  readonly json?: boolean;
}

/** What the audit record says of who did it. */
const actor = 'cli';

export function keysCommand(context: CommandContext): Command {
  return new Command('keys')
    .description('make, list and revoke API keys; change the root key')
    .addCommand(createCommand(context))
    .addCommand(listCommand(context))
    .addCommand(revokeCommand(context))
    .addCommand(rotateRootCommand(context));
}

function tenantOptions(command: Command): Command {
  return command
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(new Option('-t, --tenant <id>', 'whose keys (default: the only tenant)'));
}

function createCommand(context: CommandContext): Command {
  const command = new Command('create')
    .description('make an API key and print it, this once')
    .addOption(new Option('-n, --name <name>', 'what it is for').default('cli'))
    .addOption(
      new Option(
        '-s, --scope <scope...>',
        `what it may do: talk to assistants, mint tokens for users, manage, operate (answer in an assistant’s place), observe (nodes and metrics of the whole installation)`,
      )
        .choices(scopes)
        .default(['talk']),
    )
    .addOption(
      new Option('-e, --expires <time>', 'how long it is valid, such as 90d or 12h (default: until revoked)').argParser(
        durationMs,
      ),
    )
    .addOption(jsonOption('print the key and what is known of it as JSON'));
  return tenantOptions(command).action(
    async (
      options: TenantOptions & { readonly name: string; readonly scope: readonly Scope[]; readonly expires?: number },
    ) => {
      await using opened = await openKeys(context, options);
      const expiresAtMs = options.expires === undefined ? null : systemClock.wallMs() + options.expires;
      const wish = { name: options.name, scopes: options.scope, expiresAtMs };
      const { key, view } = await opened.keys.create(opened.tenant, wish, actor);
      if (options.json === true) process.stdout.write(`${JSON.stringify({ key, ...view })}\n`);
      else {
        process.stdout.write(`${key}\n`);
        process.stderr.write(`Keep it now: it is not shown again. To revoke it: usher keys revoke ${view.id}\n`);
      }
    },
  );
}

function listCommand(context: CommandContext): Command {
  const command = new Command('list')
    .description('list API keys: never the keys themselves')
    .addOption(jsonOption('print a list of JSON objects'));
  return tenantOptions(command).action(async (options: TenantOptions) => {
    await using opened = await openKeys(context, options);
    const views = await opened.keys.list(opened.tenant);
    if (options.json === true) process.stdout.write(`${JSON.stringify(views)}\n`);
    else if (views.length === 0) process.stdout.write('There are no API keys yet. Make one with: usher keys create\n');
    else process.stdout.write(table(views));
  });
}

function revokeCommand(context: CommandContext): Command {
  const command = new Command('revoke')
    .description('revoke an API key, at once and on every node')
    .addArgument(new Argument('<id>', 'its id, from: usher keys list'));
  return tenantOptions(command).action(async (text: string, options: TenantOptions) => {
    const id = parseId('key', text);
    if (id === undefined) {
      throw new CommandFailure('this is no id of a key (key_ and 32 digits); find it with: usher keys list');
    }
    await using opened = await openKeys(context, options);
    await opened.keys.revoke(opened.tenant, id, actor);
    process.stdout.write(`Revoked ${id}.\n`);
  });
}

function rotateRootCommand(context: CommandContext): Command {
  return new Command('rotate-root')
    .description('put a new root key above all keys; safe to repeat when it was cut off')
    .addOption(configOption())
    .addOption(dataOption())
    .action(async (options: ConfigOptions) => {
      const { config, secrets } = await configured(context, options);
      const { openRooms } = await context.main();
      await using rooms = await openRooms(config, secrets, { owner: false });
      const { system } = rooms.store;
      const report = await rotateRoot({ keys: system, roots: rooms.roots });
      const tenants = config.tenants.map(({ id }) => id);
      await recordRotation({ system, clock: systemClock, tenants }, report, actor);
      const begun = report.resumed ? 'Finished the rotation that was cut off' : 'Rotated the root key';
      const lines = [`${begun}: ${report.current} now wraps every tenant key (${report.rewrapped} wrapped anew).`];
      if (rooms.roots.keyring !== undefined) lines.push(`Back up ${rooms.roots.keyring.path} apart from the database.`);
      else if (report.retired.length > 0) {
        lines.push(`Nothing needs ${report.retired.join(', ')} any more: take it out of vault.rootKeys.`);
      }
      process.stdout.write(`${lines.join('\n')}\n`);
    });
}

async function openKeys(
  context: CommandContext,
  options: TenantOptions,
): Promise<AsyncDisposable & { readonly keys: KeyManagement; readonly tenant: TenantId }> {
  const { config, secrets } = await configured(context, options);
  const tenant = chosenTenant(
    config.tenants.map(({ id }) => id),
    options.tenant,
  );
  const { openRooms } = await context.main();
  const rooms = await openRooms(config, secrets, { owner: false });
  return {
    keys: manageKeys({ system: rooms.store.system, clock: systemClock }),
    tenant,
    [Symbol.asyncDispose]: () => rooms[Symbol.asyncDispose](),
  };
}

function chosenTenant(tenants: readonly TenantId[], asked: string | undefined): TenantId {
  const [only, ...others] = tenants;
  if (asked === undefined && only !== undefined && others.length === 0) return only;
  const found = tenants.find((id) => id === asked);
  if (found !== undefined) return found;
  if (tenants.length === 0) {
    throw new CommandFailure('this configuration declares no tenants; use the usher.yaml of a control node');
  }
  const problem = asked === undefined ? 'name the tenant with --tenant' : `there is no tenant "${asked}"`;
  throw new CommandFailure(`${problem}; configured are ${tenants.join(', ')}`);
}

const unitsMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, y: 31_536_000_000 };

/** `90d` in milliseconds. */
function durationMs(text: string): number {
  const match = /^(\d{1,4})([mhdy])$/.exec(text);
  if (match === null || Number(match[1]) === 0) {
    throw new InvalidArgumentError('Give a number with m, h, d or y, such as 90d.');
  }
  return Number(match[1]) * unitsMs[match[2]!]!;
}

function table(views: readonly ApiKeyView[]): string {
  const nowMs = systemClock.wallMs();
  const rows = views.map((view) => [
    view.id,
    `${view.prefix}…`,
    view.name,
    view.scopes.join(', '),
    stateOf(view, nowMs),
  ]);
  return textTable(['id', 'begins', 'name', 'may', 'state'], rows);
}

function stateOf(view: ApiKeyView, nowMs: number): string {
  const day = (atMs: number): string => new Date(atMs).toISOString().slice(0, 10);
  if (view.revokedAtMs !== null) return `revoked ${day(view.revokedAtMs)}`;
  if (view.expiresAtMs === null) return 'valid';
  return `${view.expiresAtMs <= nowMs ? 'expired' : 'valid until'} ${day(view.expiresAtMs)}`;
}
