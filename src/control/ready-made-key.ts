import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TenantId } from '#access';
import type { KeyManagement } from './manage-keys.ts';

/**
 * The API key that a first start makes, so that the first call needs no further step. It lies in
 * the data folder, readable by its owner alone, so that a later start can show it again.
 *
 * @returns undefined where the tenant has keys but this file is gone or its key was revoked: who
 * manages keys on purpose gets none behind their back.
 */
export async function readyMadeKey(
  keys: KeyManagement,
  tenant: TenantId,
  dataDir: string,
  nowMs: number,
): Promise<string | undefined> {
  const path = join(dataDir, 'api-key');
  const standing = await keys.list(tenant);
  const kept = await readKept(path);
  if (kept !== undefined) {
    const row = standing.find((key) => key.id === kept.id);
    const valid = row !== undefined && row.revokedAtMs === null && (row.expiresAtMs ?? Infinity) > nowMs;
    return valid ? kept.key : undefined;
  }
  if (standing.length > 0) return undefined;
  const { key, view } = await keys.create(
    tenant,
    { name: 'first key', scopes: ['talk', 'users'], expiresAtMs: null },
    'first start',
  );
  await keep(path, { id: view.id, key });
  return key;
}

interface KeptKey {
  readonly id: string;
  readonly key: string;
}

async function readKept(path: string): Promise<KeptKey | undefined> {
  try {
    const [id, key] = (await readFile(path, 'utf8')).trim().split(/\s+/);
    return id === undefined || key === undefined ? undefined : { id, key };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function keep(path: string, { id, key }: KeptKey): Promise<void> {
  await using file = await open(path, 'wx', 0o600);
  await file.writeFile(`${id} ${key}\n`);
  await file.sync();
}
