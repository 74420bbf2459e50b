import { fork } from 'node:child_process';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import { startPostgres } from './postgres.ts';

async function gone(path: string): Promise<boolean> {
  return access(path).then(
    () => false,
    () => true,
  );
}

function folderOf(url: string): string {
  return new URL(url).searchParams.get('host')!;
}

describe('a test’s PostgreSQL', () => {
  test('gives empty databases apart from each other, survives a crash, and leaves nothing behind', async () => {
    const server = await startPostgres();
    const [one, two] = [await server.freshDatabase(), await server.freshDatabase()];
    const client = new Client({ connectionString: one });
    await client.connect();
    await client.query('create table kept (number bigint)');
    await client.end();
    await server.crash();
    await server.start();
    const tablesIn = async (connectionString: string) => {
      const reader = new Client({ connectionString });
      await reader.connect();
      const { rows } = await reader.query("select tablename from pg_tables where schemaname = 'public'");
      await reader.end();
      return rows as unknown;
    };
    expect(await tablesIn(one)).toEqual([{ tablename: 'kept' }]);
    expect(await tablesIn(two)).toEqual([]);
    await server.stop();
    expect(await gone(folderOf(server.url))).toBe(true);
  });

  test('ends, and its folder goes, when the test process is killed', async () => {
    const holder = fork(new URL('postgres-process.ts', import.meta.url));
    const [url] = (await once(holder, 'message')) as [string];
    expect(await gone(folderOf(url))).toBe(false);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const deadline = Date.now() + 20_000;
    while (!(await gone(folderOf(url))) && Date.now() < deadline) await sleep(50);
    expect(await gone(folderOf(url))).toBe(true);
  });
});
