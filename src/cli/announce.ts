import { relative } from 'node:path';
import colors from 'picocolors';
import { roles } from '#cluster';
import { knowledgeOnly, type Config } from '#config';
import type { RunningUsher } from './command-context.ts';

/** What is printed when it serves: one line of JSON, or a few for a person. */
export function announce(event: {
  readonly usher: RunningUsher;
  readonly config: Config;
  readonly version: string;
  /** The usual port, where it was taken. */
  readonly moved: number | undefined;
  readonly json: boolean;
}): string {
  const { usher } = event;
  if (event.json)
    return `${JSON.stringify({ url: usher.url, chat: usher.chatUrl ?? null, apiKey: usher.apiKey ?? null })}\n`;
  return banner(event);
}

function banner({ usher, config, version, moved }: Parameters<typeof announce>[0]): string {
  const line = (label: string, text: string): string => `  ${colors.dim(label.padEnd(8))}${text}`;
  const lines = [
    '',
    `  ${colors.bold('Usher')} ${version} serves ${assistantsOf(config)}.`,
    '',
    ...(usher.chatUrl === undefined ? [] : [line('Chat', colors.cyan(colors.underline(usher.chatUrl)))]),
    line('API', colors.cyan(config.roles.includes('gateway') ? `${usher.url}/v1` : 'at the gateway nodes')),
    line('Key', usher.apiKey ?? 'yours; make one with: usher keys create'),
    ...(config.roles.length < roles.length ? [line('Roles', config.roles.join(', '))] : []),
    line('Model', usher.models),
    line('Data', relative(process.cwd(), config.dataDir) || config.dataDir),
  ];
  if (usher.models === knowledgeOnly) {
    lines.push('', '  For a model, set OPENAI_API_KEY, start Ollama, or run: npx usher model');
  }
  if (moved !== undefined) lines.push('', `  Port ${moved} is taken, so this is port ${config.listen.port}.`);
  lines.push('', `  ${colors.dim('Stop with Ctrl-C.')}`, '', '');
  return lines.join('\n');
}

function assistantsOf(config: Config): string {
  if (!config.roles.includes('control')) return 'what its control nodes publish';
  const names = config.tenants.flatMap((tenant) => tenant.assistants.map((assistant) => assistant.name));
  if (names.length <= 3) return new Intl.ListFormat('en').format(names.map((name) => colors.bold(name)));
  return `${names.length} assistants`;
}
