import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '#config';

/** The address that a server with this configuration is reached at from this machine. */
export function addressOf({ listen: { host, port } }: Config): string {
  // One that listens on every network is reached on this machine too.
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

/**
 * Where the server of this data folder is reached, for `usher chat` beside it. Only a hint: it stays
 * behind when the server is killed.
 */
export function noteServedAddress(dataDir: string, url: string): Disposable {
  const path = pathIn(dataDir);
  writeFileSync(path, `${url}\n`, { mode: 0o600 });
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}

export function servedAddress(dataDir: string): string | undefined {
  try {
    return readFileSync(pathIn(dataDir), 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}

function pathIn(dataDir: string): string {
  return join(dataDir, 'address');
}
