import type { Argument, Command, Option } from 'commander';
import { metricDescriptions } from '#telemetry';
import { configJsonSchema, environmentVariables } from '#config';
import { assistantJsonSchema } from '#release';
import { program } from '../src/cli/program.ts';
import { httpApiPage } from './http-reference.ts';
import { generated, keysOf, page, table, type JsonSchema } from './reference-markdown.ts';

/** Every page and schema below `docs/reference` that is generated: path to content. */
export function referencePages(): Readonly<Record<string, string>> {
  const config = configJsonSchema() as JsonSchema;
  const assistant = assistantJsonSchema() as JsonSchema;
  return {
    'docs/reference/configuration.md': configurationPage(config),
    'docs/reference/assistant.md': assistantPage(assistant),
    'docs/reference/cli.md': cliPage(),
    'docs/reference/http-api.md': httpApiPage(),
    'docs/reference/metrics.md': metricsPage(),
    'docs/reference/usher.schema.json': `${JSON.stringify(config, undefined, 2)}\n`,
    'docs/reference/assistant.schema.json': `${JSON.stringify(assistant, undefined, 2)}\n`,
  };
}

/** Held valid by a test. */
export const exampleConfig = `listen: { host: 0.0.0.0, port: 8080, publicUrl: https://chat.example.org }
data: /var/lib/usher
backends:
  - { name: main, kind: openai, model: gpt-4.1-mini, key: { env: OPENAI_API_KEY } }
  - name: own
    kind: openai-compatible
    url: http://10.0.0.7:8000/v1
    concurrency: 32
pools:
  # The better one for each request answers; when neither can, knowledge is quoted.
  - { name: default, backends: [main, own], fallback: knowledge }
tenants:
  - assistants:
      - name: guide
        environments:
          # Nine of ten people stay with what they know, one of ten gets the new instructions.
          production: { split: [{ folder: ./guide, share: 9 }, { folder: ./guide-next, share: 1 }] }
          staging: { folder: ./guide-next }
`;

function configurationPage(schema: JsonSchema): string {
  return page([
    '# Configuration',
    generated,
    'A server needs no configuration file. Where there is one, it is `usher.yaml` in the folder that the server is started in, or the file that `--config` names. Paths in it are relative to its own folder. A flag wins over the environment, and that over the file. `usher config check` tells what is wrong, with line and column; `usher config schema` prints the [JSON Schema](usher.schema.json) for editors.',
    'A secret is never written into this file: it is referred to, as `{ env: NAME }` or `{ file: path }`.',
    '## Environment variables',
    'Read without being named in the file:',
    table(
      ['variable', 'what it does'],
      Object.entries(environmentVariables).map(([name, text]) => [`\`${name}\``, text]),
    ),
    '## An example',
    `\`\`\`yaml\n${exampleConfig}\`\`\``,
    '## Every key',
    ...keysOf(schema, '', 2),
  ]);
}

function assistantPage(schema: JsonSchema): string {
  return page([
    '# assistant.yaml',
    generated,
    'An assistant is a folder with this file in it. `usher init <name>` makes one; `usher assistant schema` prints the [JSON Schema](assistant.schema.json) for editors.',
    ...keysOf(schema, '', 2),
  ]);
}

function cliPage(): string {
  const context = {
    env: {},
    cwd: '.',
    version: '',
    main: () => Promise.reject(new Error('the reference runs no command')),
  };
  return page([
    '# Command line',
    generated,
    'Exit codes: 0 all went well, 1 it failed (one sentence says why and what to do), 2 the command line is wrong. `--debug` adds the stack of an error to every command.',
    ...commandSections(program(context), []),
  ]);
}

function commandSections(command: Command, above: readonly string[]): string[] {
  const names = [...above, command.name()];
  const visible = command.options.filter((option) => !option.hidden && option.long !== '--debug');
  const usage = [
    ...names,
    ...command.registeredArguments.map((argument) =>
      argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
    ),
  ].join(' ');
  const isGroup = command.commands.length > 0;
  const own = [
    `## ${names.join(' ')}`,
    sentence(command.description()),
    ...(isGroup ? [] : [`\`\`\`\n${usage}${visible.length > 0 ? ' [options]' : ''}\n\`\`\``]),
    ...optionTable(command.registeredArguments, isGroup ? [] : visible),
  ];
  return [...own, ...command.commands.flatMap((child) => commandSections(child, names))];
}

function optionTable(given: readonly Argument[], options: readonly Option[]): string[] {
  const rows = [
    ...given.map((argument) => [`\`${argument.name()}\``, withDefault(argument.description, argument.defaultValue)]),
    ...options.map((option) => [`\`${option.flags}\``, withDefault(option.description, option.defaultValue)]),
  ];
  return rows.length === 0 ? [] : [table(['', 'meaning'], rows)];
}

function withDefault(text: string, value: unknown): string {
  const words = Array.isArray(value) ? value.join(', ') : typeof value === 'string' ? value : undefined;
  return words === undefined ? text : `${text} (default: \`${words}\`)`;
}

function metricsPage(): string {
  const rows = metricDescriptions().map(({ name, kind, labels, help }) => [
    `\`${name}\``,
    kind,
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  return page([
    '# Metrics',
    generated,
    'At `/metrics`, in the Prometheus text format. Labels hold names from the configuration and closed sets of words: never an id, never content. The metrics of the Node process (`process_*`, `nodejs_*`) come with them.',
    table(['metric', 'kind', 'labels', 'meaning'], rows),
  ]);
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`;
}
