import { Command } from 'commander';
import { configJsonSchema, formatConfigProblem, loadConfig } from '#config';
import type { CommandContext, ConfigOptions } from './command-context.ts';
import { configOption, dataOption, jsonOption } from './options.ts';

export function configCommand(context: CommandContext): Command {
  return new Command('config')
    .description('check the configuration, or print its schema')
    .addCommand(checkCommand(context))
    .addCommand(schemaCommand());
}

function checkCommand(context: CommandContext): Command {
  return new Command('check')
    .description('read usher.yaml, the environment and every secret it refers to, and tell what is wrong')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(jsonOption('print the result as JSON'))
    .action(async (options: ConfigOptions & { readonly json?: boolean }) => {
      const loaded = await loadConfig({
        env: context.env,
        cwd: context.cwd,
        flags: options.data === undefined ? {} : { data: options.data },
        ...(options.config === undefined ? {} : { path: options.config }),
      });
      const problems = loaded.ok ? [] : loaded.problems;
      if (problems.length > 0) process.exitCode = 1;
      if (options.json === true) {
        process.stdout.write(`${JSON.stringify({ ok: loaded.ok, problems })}\n`);
      } else if (loaded.ok) {
        const { config } = loaded;
        const source = config.file ?? 'no usher.yaml, so the defaults';
        const assistants = config.tenants.flatMap((tenant) => tenant.assistants).length;
        // Knowledge is there where a pool falls back on it, declared or not.
        const backends = config.backends.filter(({ kind }) => kind !== 'knowledge').length;
        process.stdout.write(
          `The configuration holds (${source}): ${count(assistants, 'assistant')}, ${count(backends, 'model backend')}.\n`,
        );
      } else {
        process.stderr.write(problems.map((problem) => `${formatConfigProblem(problem)}\n`).join(''));
      }
    });
}

function schemaCommand(): Command {
  return new Command('schema')
    .description('print the JSON Schema of usher.yaml, for editors')
    .action(() => void process.stdout.write(`${JSON.stringify(configJsonSchema(), undefined, 2)}\n`));
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}
