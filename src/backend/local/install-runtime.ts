import { spawn } from 'node:child_process';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UsherError } from '#base';

const version = '3.22.1';
/** With the library for this machine's processor (on a Mac: Metal) alone, 85 MB; with CUDA and Vulkan 725 MB. */
const platformPackages: Readonly<Record<string, string>> = {
  'darwin-arm64': '@node-llama-cpp/mac-arm64-metal',
  'darwin-x64': '@node-llama-cpp/mac-x64',
  'linux-arm64': '@node-llama-cpp/linux-arm64',
  'linux-x64': '@node-llama-cpp/linux-x64',
  'win32-arm64': '@node-llama-cpp/win-arm64',
  'win32-x64': '@node-llama-cpp/win-x64',
};

export interface InstallOptions {
  /** Below the data folder; made where it is not there. */
  readonly dir: string;
  /** Also the packages for graphics cards (CUDA, Vulkan): eight times the size. Default false. */
  readonly gpu?: boolean;
  /** Files fetched so far; how many there will be is not known before. */
  readonly onProgress?: (progress: { readonly fetched: number }) => void;
  readonly signal?: AbortSignal;
}

/**
 * Installs `node-llama-cpp` into a folder of its own with npm, at a pinned version and without
 * running any package's scripts. Does nothing where it is there already.
 * @throws UsherError with the mend
 */
export async function installLocalRuntime(options: InstallOptions): Promise<void> {
  const platformPackage = platformPackages[`${process.platform}-${process.arch}`];
  if (platformPackage === undefined) {
    throw new UsherError('config_invalid', 'A local model cannot run on this kind of machine: use a model server.');
  }
  if (await isRuntimeInstalled(options.dir)) return;
  await mkdir(options.dir, { recursive: true });
  await writeFile(join(options.dir, 'package.json'), '{"private":true}\n');
  const scope = options.gpu === true ? [] : ['--omit=optional', `${platformPackage}@${version}`];
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--save-exact', '--loglevel=http'];
  await runNpm(['install', '--prefix', options.dir, ...flags, ...scope, `node-llama-cpp@${version}`], options);
  await writeFile(join(options.dir, 'installed.json'), `${JSON.stringify({ version })}\n`);
}

/** Whether the pinned version was installed to its end. */
export async function isRuntimeInstalled(dir: string): Promise<boolean> {
  const home = join(dir, 'node_modules', 'node-llama-cpp', 'package.json');
  try {
    await access(join(dir, 'installed.json'));
    const manifest = JSON.parse(await readFile(home, 'utf8')) as { readonly version?: unknown };
    return manifest.version === version;
  } catch {
    return false;
  }
}

async function runNpm(args: readonly string[], options: InstallOptions): Promise<void> {
  const isWindows = process.platform === 'win32';
  // A batch file runs only through a shell there; the folder is the one argument not our own.
  const quoted = isWindows ? args.map((arg) => (/[\s&()^]/.test(arg) ? `"${arg}"` : arg)) : args;
  const npm = spawn(isWindows ? 'npm.cmd' : 'npm', quoted, {
    shell: isWindows,
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  let fetched = 0;
  let said = '';
  npm.stderr.setEncoding('utf8').on('data', (text: string) => {
    fetched += text.split('npm http fetch').length - 1;
    said = (said + text).slice(-20_000);
    options.onProgress?.({ fetched });
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  npm.once('error', reject);
  npm.once('close', resolve);
  const code = await promise.catch((error: NodeJS.ErrnoException) => {
    throw installFailure(error.code ?? 'unknown', options.signal);
  });
  if (code !== 0) throw installFailure(/npm error code (\w+)/.exec(said)?.[1] ?? `exit ${code}`, options.signal);
}

function installFailure(code: string, signal: AbortSignal | undefined): UsherError {
  if (signal?.aborted) return new UsherError('interrupted', 'The installation of the local runtime was stopped.');
  if (code === 'ENOENT') {
    return new UsherError('config_invalid', 'The local runtime is installed with npm, which is not here: install npm.');
  }
  if (code === 'ENOSPC') {
    return new UsherError('storage_full', 'The disk is full: make room for the local runtime and try again.');
  }
  return new UsherError(
    'backend_unavailable',
    `npm could not install the local runtime (${code}): check that this machine reaches the npm registry.`,
  );
}
