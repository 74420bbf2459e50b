import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { downloadModel, installLocalRuntime, isRuntimeInstalled } from '#backend';
import { CommandFailure, configured, type CommandContext, type ConfigOptions } from './command-context.ts';
import { configOption, dataOption } from './options.ts';

/** Open models (Apache-2.0) that answer in many languages; sizes are of the download. */
const knownModels: Readonly<Record<string, { readonly url: string; readonly about: string }>> = {
  small: {
    url: 'https://huggingface.co/Qwen/Qwen3-0.6B-GGUF/resolve/main/Qwen3-0.6B-Q8_0.gguf',
    about: 'Qwen3 0.6B, 0.6 GB: for a try on any machine',
  },
  medium: {
    url: 'https://huggingface.co/Qwen/Qwen3-1.7B-GGUF/resolve/main/Qwen3-1.7B-Q8_0.gguf',
    about: 'Qwen3 1.7B, 1.8 GB: with 4 GB of memory',
  },
  large: {
    url: 'https://huggingface.co/Qwen/Qwen3-4B-GGUF/resolve/main/Qwen3-4B-Q4_K_M.gguf',
    about: 'Qwen3 4B, 2.5 GB: with 8 GB of memory',
  },
};

interface ModelOptions extends ConfigOptions {
  readonly sha256?: string;
  readonly gpu?: boolean;
  readonly runtimeOnly?: boolean;
}

export function modelCommand(context: CommandContext): Command {
  const list = Object.entries(knownModels).map(([name, { about }]) => `  ${name.padEnd(8)}${about}`);
  return new Command('model')
    .description('install what a model on this machine needs, and download one')
    .addArgument(new Argument('[model]', 'small, medium, large, or the address of a GGUF file').default('small'))
    .addOption(new Option('--sha256 <digits>', 'checksum that the file must have').argParser(checksum))
    .addOption(new Option('--gpu', 'also for graphics cards (CUDA, Vulkan): 700 MB instead of 85'))
    .addOption(new Option('--runtime-only', 'download no model, for one that USHER_MODEL_PATH or usher.yaml names'))
    .addOption(configOption())
    .addOption(dataOption())
    .addHelpText('after', `\nModels:\n${list.join('\n')}\n`)
    .action((model: string, options: ModelOptions) => prepareModel(context, model, options));
}

async function prepareModel(context: CommandContext, model: string, options: ModelOptions): Promise<void> {
  const url = addressOfModel(model);
  const { config } = await configured(context, options);
  const stopped = new AbortController();
  process.once('SIGINT', () => stopped.abort());
  await installRuntime(join(config.dataDir, 'local-runtime'), options.gpu === true, stopped.signal);
  if (options.runtimeOnly === true) return;
  const to = join(config.dataDir, 'models', decodeURIComponent(basename(new URL(url).pathname)));
  if (existsSync(to)) process.stderr.write(`${to} is there already.\n`);
  else await download(url, to, options.sha256, stopped.signal);
  process.stdout.write(
    `${to}\n${process.stdout.isTTY ? 'It answers from the next start on, where no other model is found. To choose it for good, declare a backend of kind "local" in usher.yaml.\n' : ''}`,
  );
}

async function installRuntime(dir: string, gpu: boolean, signal: AbortSignal): Promise<void> {
  if (await isRuntimeInstalled(dir)) return;
  process.stderr.write('Installing the runtime for local models.\n');
  const bar = openBar('  {value} packages fetched', 0);
  try {
    await installLocalRuntime({ dir, gpu, signal, onProgress: ({ fetched }) => bar.update(fetched) });
  } finally {
    bar.stop();
  }
}

async function download(url: string, to: string, sha256: string | undefined, signal: AbortSignal): Promise<void> {
  process.stderr.write(`Downloading ${basename(to)} from ${new URL(url).host}. Ctrl-C stops it; it goes on later.\n`);
  const bar = openBar('  {bar} {percentage}%  {value} of {total} MB  {eta_formatted} left', 1);
  try {
    await downloadModel({
      url,
      to,
      signal,
      ...(sha256 === undefined ? {} : { sha256 }),
      onProgress: ({ receivedBytes, totalBytes }) => {
        if (totalBytes !== undefined) bar.setTotal(megabytes(totalBytes));
        bar.update(megabytes(receivedBytes));
      },
    });
  } finally {
    bar.stop();
  }
}

/** Drawn at a terminal alone: a log keeps only the lines around it. */
function openBar(format: string, total: number): SingleBar {
  const bar = new SingleBar({ format, stream: process.stderr, noTTYOutput: false, hideCursor: true });
  bar.start(total, 0);
  return bar;
}

function addressOfModel(model: string): string {
  const known = knownModels[model]?.url;
  if (known !== undefined) return known;
  const url = URL.parse(model);
  if (url !== null && /^https?:$/.test(url.protocol) && url.pathname.endsWith('.gguf')) return url.href;
  if (existsSync(model)) {
    throw new CommandFailure(
      `${model} is on this machine already: install the runtime with --runtime-only, and set USHER_MODEL_PATH to it`,
    );
  }
  throw new CommandFailure(
    `"${model}" is neither ${Object.keys(knownModels).join(', ')} nor the address of a .gguf file; give one of them`,
  );
}

function checksum(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidArgumentError('Give the 64 hex digits of a SHA-256.');
  return text;
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1_000_000);
}
