import { execFile } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '#base';
import type { Config } from '#config';
import { addressOf } from '../served-address.ts';
import type { AddFinding } from './finding.ts';

const mebibyte = 1 << 20;
/** Each open stream takes a socket to the client and one to the backend; files and spares come on top. */
const filesPerConnection = 2;

/** Runtime, open files, memory, disk, port and clock. */
export async function checkMachine(config: Config | undefined, add: AddFinding): Promise<void> {
  checkRuntime(add);
  checkMemory(add);
  await checkOpenFiles(config, add);
  checkClock(add);
  if (config === undefined) return;
  await checkDisk(config.dataDir, add);
  await checkPort(config, add);
}

function checkRuntime(add: AddFinding): void {
  const [major = 0] = process.versions.node.split('.').map(Number);
  const says = `Node ${process.versions.node} on ${process.platform}-${process.arch}`;
  if (major >= 24) add({ subject: 'runtime', state: 'ok', says });
  else add({ subject: 'runtime', state: 'fail', says: `${says}; Usher needs Node 24 or later` });
}

function checkMemory(add: AddFinding): void {
  // Containers limit memory below what the machine has; without a limit the figure is enormous or 0.
  const limit = process.constrainedMemory();
  const bytes = limit > 0 && limit < totalmem() ? limit : totalmem();
  const says = `${Math.round(bytes / mebibyte)} MiB of memory, ${availableParallelism()} processor cores`;
  if (bytes >= 900 * mebibyte) add({ subject: 'memory', state: 'ok', says });
  else add({ subject: 'memory', state: 'warn', says: `${says}; give it 1 GiB for thousands of open streams` });
}

async function checkOpenFiles(config: Config | undefined, add: AddFinding): Promise<void> {
  if (process.platform === 'win32') return;
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', 'ulimit -n']);
  const limit = stdout.trim() === 'unlimited' ? Infinity : Number(stdout.trim());
  const wanted = (config?.limits.connections ?? 10_000) * filesPerConnection;
  const says = `${limit} open files at the most`;
  if (limit >= wanted) add({ subject: 'open files', state: 'ok', says });
  else {
    const holds = Math.floor(limit / filesPerConnection);
    add({
      subject: 'open files',
      state: limit < 1024 ? 'fail' : 'warn',
      says: `${says}: about ${holds} streams; raise it with: ulimit -n ${wanted} (systemd: LimitNOFILE=${wanted})`,
    });
  }
}

/** Keys, tokens and leases are dated; a clock before the software itself is surely wrong. */
function checkClock(add: AddFinding): void {
  const now = new Date(systemClock.wallMs());
  if (now.getUTCFullYear() >= 2026) add({ subject: 'clock', state: 'ok', says: now.toISOString() });
  else {
    add({ subject: 'clock', state: 'fail', says: `the clock says ${now.toISOString()}; set it, best by NTP` });
  }
}

async function checkDisk(dataDir: string, add: AddFinding): Promise<void> {
  const folder = firstExisting(dataDir);
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const says = `${Math.round(free / mebibyte)} MiB free for ${dataDir}`;
  if (free >= 1024 * mebibyte) add({ subject: 'disk', state: 'ok', says });
  else if (free >= 64 * mebibyte) {
    add({ subject: 'disk', state: 'warn', says: `${says}; make room, or give another folder with --data` });
  } else add({ subject: 'disk', state: 'fail', says: `${says}; writes will be refused: make room` });
}

function firstExisting(path: string): string {
  return existsSync(path) && statSync(path).isDirectory() ? path : firstExisting(dirname(path));
}

async function checkPort(config: Config, add: AddFinding): Promise<void> {
  const { host, port, portMayMove } = config.listen;
  const code = await new Promise<string | undefined>((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown reason'));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
  if (code === undefined) add({ subject: 'port', state: 'ok', says: `${host} port ${port} is free` });
  else if (code === 'EADDRINUSE') {
    const answers = await fetch(`${addressOf(config)}/livez`, {
      signal: AbortSignal.timeout(2000),
    }).then(
      (response) => response.ok,
      () => false,
    );
    if (answers) add({ subject: 'port', state: 'ok', says: `a server is alive at ${host} port ${port}` });
    else if (portMayMove)
      add({ subject: 'port', state: 'ok', says: `${port} is taken; the next free one will be used` });
    else {
      add({ subject: 'port', state: 'fail', says: `${host} port ${port} is taken by another program; choose another` });
    }
  } else {
    add({ subject: 'port', state: 'fail', says: `cannot listen on ${host} port ${port} (${code}); choose others` });
  }
}
