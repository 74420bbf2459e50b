import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Argument, Command, Option } from 'commander';
import colors from 'picocolors';
import { checkApiKey } from '#access';
import { openChatClient, type AskedCall, type ChatClient, type Decision } from './chat-client.ts';
import { CommandFailure, configured, type CommandContext, type ConfigOptions } from './command-context.ts';
import { configOption, dataOption } from './options.ts';
import { addressOf, servedAddress } from './served-address.ts';

interface ChatOptions extends ConfigOptions {
  readonly url?: string;
}

const help = 'Ctrl-C stops an answer. /new begins anew, /quit ends.';

export function chatCommand(context: CommandContext): Command {
  return new Command('chat')
    .description('talk with an assistant of a running server, here in the terminal')
    .addArgument(new Argument('[assistant]', 'its name (default: the first one)'))
    .addOption(
      new Option('-u, --url <address>', 'address of the server (default: the one that serves this data folder)'),
    )
    .addOption(configOption())
    .addOption(dataOption())
    .addHelpText(
      'after',
      '\nThe API key is taken from USHER_API_KEY, else from the data folder of a server on this machine.\n',
    )
    .action(async (assistant: string | undefined, options: ChatOptions) => {
      const client = await openClient(context, assistant, options);
      if (process.stdin.isTTY) await talk(client);
      else await talkPiped(client);
    });
}

async function openClient(
  context: CommandContext,
  assistant: string | undefined,
  options: ChatOptions,
): Promise<ChatClient> {
  const { config } = await configured(context, options);
  const url = options.url ?? servedAddress(config.dataDir) ?? addressOf(config);
  const apiKey = context.env['USHER_API_KEY']?.trim() || readyMadeKey(config.dataDir);
  if (apiKey === undefined) {
    throw new CommandFailure(
      `there is no API key in ${config.dataDir}; start the server first (usher dev), or set USHER_API_KEY`,
    );
  }
  return openChatClient({ url: url.replace(/\/+$/, ''), apiKey, assistant });
}

/** The key that the first start left in the data folder, for whoever may read that. */
function readyMadeKey(dataDir: string): string | undefined {
  const path = join(dataDir, 'api-key');
  return existsSync(path) ? readFileSync(path, 'utf8').split(/\s+/).find(checkApiKey) : undefined;
}

/** A conversation at a terminal. */
async function talk(client: ChatClient): Promise<void> {
  process.stdout.write(
    `${colors.bold(client.assistant)} ${colors.dim(`at ${client.url}. You are talking with an AI. ${help}`)}\n`,
  );
  const terminal = createInterface({ input: process.stdin, output: process.stdout, prompt: colors.cyan('> ') });
  let answering: AbortController | undefined;
  let asked: readonly AskedCall[] = [];
  let decisions: Decision[] = [];
  terminal.on('SIGINT', () => (answering === undefined ? terminal.close() : answering.abort()));
  terminal.prompt();
  for await (const line of terminal) {
    const text = line.trim();
    const [call] = asked.slice(decisions.length);
    if (text === '/quit' || text === '/exit') break;
    if (text === '/new') {
      client.begin();
      asked = [];
      process.stdout.write(`${colors.dim('A new conversation.')}\n`);
    } else if (text === '/help') process.stdout.write(`${colors.dim(help)}\n`);
    else if (call !== undefined || text !== '') {
      if (call !== undefined) decisions.push({ call, approve: /^y(?:es)?$/iu.test(text) });
      if (decisions.length === asked.length) {
        answering = new AbortController();
        asked = await answerAtTerminal(client, call === undefined ? text : decisions, answering.signal);
        decisions = [];
        answering = undefined;
      }
    }
    const [next] = asked.slice(decisions.length);
    if (next !== undefined) process.stdout.write(`${askedInWords(next)} ${colors.dim('[y/N]')}\n`);
    terminal.prompt();
  }
  terminal.close();
}

function askedInWords({ name, arguments: text }: AskedCall): string {
  return `May the assistant use ${colors.bold(name)} with ${text}?`;
}

/** Answers what the person is asked then. */
async function answerAtTerminal(
  client: ChatClient,
  said: string | readonly Decision[],
  signal: AbortSignal,
): Promise<readonly AskedCall[]> {
  const waiting = (): void => {
    process.stdout.write(`\n${colors.dim('Waiting for a person. Ctrl-C ends that.')}\n`);
  };
  try {
    const asked = await client.ask(said, { piece: (piece) => process.stdout.write(piece), waiting }, signal);
    process.stdout.write('\n');
    return asked;
  } catch (error) {
    if (signal.aborted) process.stdout.write(`${colors.dim(' (stopped)')}\n`);
    else if (error instanceof CommandFailure) process.stdout.write(`\n${colors.red(error.message)}\n`);
    else throw error;
    return [];
  }
}

/** Each line is one question; the answers are all that is printed. The first failure ends it. */
async function talkPiped(client: ChatClient): Promise<void> {
  const gone = new AbortController();
  process.once('SIGINT', () => gone.abort());
  // `usher chat | head` closes the pipe: the answer is not wanted any more.
  process.stdout.on('error', () => gone.abort());
  for await (const line of createInterface({ input: process.stdin })) {
    if (gone.signal.aborted) return;
    if (line.trim() === '/new') client.begin();
    else if (line.trim() === '/quit') return;
    else if (line.trim() !== '') {
      const hear = { piece: (piece: string) => process.stdout.write(piece), waiting: () => undefined };
      const [asked] = await client.ask(line, hear, gone.signal);
      process.stdout.write('\n');
      if (asked !== undefined)
        throw new CommandFailure(`${askedInWords(asked)} Only a person at a terminal can agree.`);
    }
  }
}
