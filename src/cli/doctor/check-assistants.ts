import { formatProblem } from '#base';
import type { Config } from '#config';
import { loadAssistantFolder, namesFor } from '#control';
import { DocumentReader } from '#knowledge';
import type { CommandContext } from '../command-context.ts';
import type { AddFinding } from './finding.ts';

/** Every assistant folder, read as a start reads it. */
export async function checkAssistants(context: CommandContext, config: Config, add: AddFinding): Promise<void> {
  if (!config.roles.includes('control')) return;
  const { folderMeansOf } = await context.main();
  const means = folderMeansOf(config);
  await using documents = new DocumentReader();
  for (const { id, assistants } of config.tenants) {
    for (const { name, environments } of assistants) {
      const sides = Array.from(environments.values()).flatMap((environment) => environment.sides);
      for (const folder of new Set(sides.map((side) => side.folder))) {
        const read = await loadAssistantFolder(documents, folder, { expectedName: name, ...namesFor(means, id) });
        if (read.ok) add({ subject: name, state: 'ok', says: `${folder} holds` });
        else add({ subject: name, state: 'fail', says: read.problems.map((one) => formatProblem(one)).join('\n') });
      }
    }
  }
}
