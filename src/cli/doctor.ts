import { Command } from 'commander';
import colors from 'picocolors';
import { formatConfigProblem, loadConfig } from '#config';
import type { CommandContext, ConfigOptions } from './command-context.ts';
import { checkAssistants } from './doctor/check-assistants.ts';
import { checkBackends } from './doctor/check-backends.ts';
import { checkEmbeddings } from './doctor/check-embeddings.ts';
import { checkMachine } from './doctor/check-machine.ts';
import { checkStorage } from './doctor/check-storage.ts';
import type { Finding } from './doctor/finding.ts';
import { configOption, dataOption, jsonOption } from './options.ts';

export function doctorCommand(context: CommandContext): Command {
  return new Command('doctor')
    .description('check all that Usher stands on, and tell what to mend')
    .addOption(configOption())
    .addOption(dataOption())
    .addOption(jsonOption('print a list of JSON objects'))
    .action(async (options: ConfigOptions & { readonly json?: boolean }) => {
      const findings = await examine(context, options, (finding) => {
        if (options.json !== true) process.stdout.write(lineOf(finding));
      });
      if (options.json === true) process.stdout.write(`${JSON.stringify(findings)}\n`);
      else process.stdout.write(summary(findings));
      if (findings.some((finding) => finding.state === 'fail')) process.exitCode = 1;
    });
}

async function examine(
  context: CommandContext,
  options: ConfigOptions,
  tell: (finding: Finding) => void,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const add = (finding: Finding): void => {
    findings.push(finding);
    tell(finding);
  };
  const loaded = await loadConfig({
    env: context.env,
    cwd: context.cwd,
    flags: options.data === undefined ? {} : { data: options.data },
    ...(options.config === undefined ? {} : { path: options.config }),
  });
  if (!loaded.ok) {
    for (const problem of loaded.problems) {
      add({ subject: 'configuration', state: 'fail', says: formatConfigProblem(problem) });
    }
    await checkMachine(undefined, add);
    return findings;
  }
  const { config, secrets } = loaded;
  add({ subject: 'configuration', state: 'ok', says: config.file ?? 'no usher.yaml: the defaults' });
  await checkMachine(config, add);
  await checkStorage(context, config, secrets, add);
  await checkAssistants(context, config, add);
  await checkBackends(config, secrets, add);
  await checkEmbeddings(config, secrets, add);
  return findings;
}

const marks = { ok: colors.green('ok  '), warn: colors.yellow('warn'), fail: colors.red('fail') } as const;

function lineOf({ subject, state, says }: Finding): string {
  const [first, ...further] = says.split('\n');
  const indent = ' '.repeat(22);
  return `${marks[state]}  ${subject.padEnd(14)}  ${first}\n${further.map((line) => `${indent}${line}\n`).join('')}`;
}

function summary(findings: readonly Finding[]): string {
  const count = (state: Finding['state']): number => findings.filter((finding) => finding.state === state).length;
  if (count('fail') > 0) return `\n${count('fail')} to mend before Usher serves well, ${count('warn')} to look at.\n`;
  return count('warn') > 0 ? `\nUsher can serve; ${count('warn')} to look at.\n` : '\nAll is well.\n';
}
