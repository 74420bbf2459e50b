import { Command } from 'commander';
import { listNodes, type ClusterView, type NodeView } from '#control';
import { configured, type CommandContext, type ConfigOptions } from './command-context.ts';
import { configOption, dataOption, jsonOption } from './options.ts';
import { textTable } from './text-table.ts';

export function nodesCommand(context: CommandContext): Command {
  return new Command('nodes')
    .description('list the nodes that share the database, and which snapshot each serves')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(jsonOption('print the newest revision and the nodes as JSON'))
    .action(async (options: ConfigOptions & { readonly json?: boolean }) => {
      const { config, secrets } = await configured(context, options);
      const { openRooms } = await context.main();
      await using rooms = await openRooms(config, secrets, { owner: false });
      const view = await listNodes(rooms.store.system);
      if (options.json === true) process.stdout.write(`${JSON.stringify(view)}\n`);
      else process.stdout.write(described(view));
    });
}

function described({ newestRevision, nodes }: ClusterView): string {
  if (nodes.length === 0) return 'No node was heard of within the last hour. Start one with: usher serve\n';
  const head = ['id', 'at', 'roles', 'version', 'state', 'heard of', 'serves', 'turns'];
  const rows = nodes.map((node) => [
    node.id,
    `${node.host}/${node.pid}`,
    node.roles.join(','),
    node.version,
    node.state,
    `${(node.silentMs / 1000).toFixed(1)} s ago`,
    servedBy(node, newestRevision),
    String(node.runningTurns),
  ]);
  const problems = nodes.flatMap(({ id, problem }) => (problem === null ? [] : [`${id}: ${problem}\n`]));
  return [textTable(head, rows), `Newest snapshot: ${newestRevision}\n`, ...problems].join('');
}

function servedBy({ appliedRevision }: NodeView, newestRevision: number): string {
  if (appliedRevision === newestRevision) return String(appliedRevision);
  return appliedRevision === 0 ? 'nothing yet' : `${appliedRevision} of ${newestRevision}`;
}
