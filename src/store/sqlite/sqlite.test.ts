import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { storeContract } from '../store.contract.ts';
import { openSqliteStore } from './sqlite.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-sqlite-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('SQLite keeps the contract of the store', () => {
  storeContract(() => openSqliteStore({ path: join(folder, 'contract.db'), owner: true }));
});
