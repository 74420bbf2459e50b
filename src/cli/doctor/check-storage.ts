import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { UsherError } from '#base';
import type { Config, Secrets } from '#config';
import type { CommandContext } from '../command-context.ts';
import type { AddFinding } from './finding.ts';

/** The database, the keys that open it, and who else may read them. Writes nothing where nothing is yet. */
export async function checkStorage(
  context: CommandContext,
  config: Config,
  secrets: Secrets,
  add: AddFinding,
): Promise<void> {
  if (process.platform !== 'win32') checkModes(config, add);
  const { storage } = config;
  if (storage.kind === 'sqlite' && !existsSync(storage.path)) {
    add({ subject: 'storage', state: 'ok', says: `${storage.path} will be made at the first start` });
    return;
  }
  const where = storage.kind === 'sqlite' ? storage.path : 'PostgreSQL';
  try {
    const { openRooms } = await context.main();
    await using rooms = await openRooms(config, secrets, { owner: false });
    await rooms.store.probe();
    add({ subject: 'storage', state: 'ok', says: `${where} takes writes, and the root key opens it` });
  } catch (error) {
    if (!(error instanceof UsherError)) throw error;
    add({ subject: 'storage', state: 'fail', says: `${where}: ${error.message}` });
  }
}

function checkModes(config: Config, add: AddFinding): void {
  const closed = ['root.key', 'api-key'].map((name) => join(config.dataDir, name)).filter((path) => existsSync(path));
  const open = closed.filter((path) => (statSync(path).mode & 0o077) !== 0);
  for (const path of open) {
    add({
      subject: 'secrets',
      state: 'fail',
      says: `${path} may be read by other users; close it with: chmod 600 ${path}`,
    });
  }
  if (open.length === 0 && closed.length > 0) {
    add({ subject: 'secrets', state: 'ok', says: `only you may read the keys in ${config.dataDir}` });
  }
  if (!existsSync(config.dataDir)) return;
  if ((statSync(config.dataDir).mode & 0o022) !== 0) {
    add({
      subject: 'data folder',
      state: 'warn',
      says: `${config.dataDir} may be changed by other users; close it with: chmod 700 ${config.dataDir}`,
    });
  }
}
