import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres, type TestPostgres } from '#test/postgres';
import { aFinish, anItem, aTenant, aTurn, storeContract } from '../store.contract.ts';
import { holdsToTheModel } from '../store.model.ts';
import { openPostgresStore } from './postgres.ts';

let server: TestPostgres;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.stop());

describe('PostgreSQL keeps the contract of the store', () => {
  storeContract(async () => openPostgresStore({ url: await server.freshDatabase(), poolMax: 8 }));
});

test('PostgreSQL answers as the model does, whoever asks for whatever', async () => {
  const store = await openPostgresStore({ url: await server.freshDatabase(), poolMax: 2 });
  await holdsToTheModel(store, 25);
  await store.close();
}, 120_000);

describe('PostgreSQL', () => {
  test('is migrated by one of many nodes that start at once', async () => {
    const url = await server.freshDatabase();
    const stores = await Promise.all(Array.from({ length: 6 }, () => openPostgresStore({ url, poolMax: 1 })));
    await Promise.all(stores.map((store) => store.probe()));
    await Promise.all(stores.map((store) => store.close()));
  });

  test('whose schema needs a newer program is refused, and not when this one can still work on it', async () => {
    const url = await server.freshDatabase();
    await (await openPostgresStore({ url, poolMax: 1 })).close();
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query("insert into schema_migrations (number, name, readable_from) values (900, 'compatible', 1)");
    await (await openPostgresStore({ url, poolMax: 1 })).close();
    await client.query("insert into schema_migrations (number, name, readable_from) values (901, 'breaking', 901)");
    await client.end();
    await expect(openPostgresStore({ url, poolMax: 1 })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/schema 901.*newer version/) as string,
    });
  });

  test('that goes away makes operations fail as unavailable, and is used again when it is back', async () => {
    const url = await server.freshDatabase();
    const store = await openPostgresStore({ url, poolMax: 4 });
    const tenant = store.reach({ tenant: aTenant(), subject: null });
    const turn = aTurn();
    await tenant.beginTurn(turn, [anItem()]);
    const busy = Array.from({ length: 40 }, () => tenant.beginTurn(aTurn(), [anItem()]));
    const settled = Promise.allSettled(busy);
    await server.crash();
    for (const outcome of await settled) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'storage_unavailable' });
    }
    await expect(store.probe()).rejects.toMatchObject({ code: 'storage_unavailable' });
    await expect(openPostgresStore({ url, poolMax: 1 })).rejects.toMatchObject({ code: 'storage_unavailable' });
    await server.start();
    await store.probe();
    expect(await tenant.finishTurn(turn.id, 1, aFinish(), [anItem()])).toBe(true);
    await store.close();
  });

  test('whose address or database is wrong is refused with the mend, without the password', async () => {
    const missing = server.url.replace('/postgres?', '/nowhere?');
    await expect(openPostgresStore({ url: missing, poolMax: 1 })).rejects.toThrow(/database does not exist/);
    const closed = 'postgres://usher:hunter2@127.0.0.1:1/usher';
    const error: unknown = await openPostgresStore({ url: closed, poolMax: 1 }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'storage_unavailable' });
    expect(String(error)).not.toContain('hunter2');
  });

  test('text with a zero character is refused as the caller’s mistake', async () => {
    const store = await openPostgresStore({ url: await server.freshDatabase(), poolMax: 1 });
    const tenant = store.reach({ tenant: aTenant(), subject: null });
    await expect(tenant.beginTurn(aTurn({ assistant: 'a\0b' }), [])).rejects.toMatchObject({ code: 'invalid_request' });
    await store.probe();
    await store.close();
  });

  test('finds what may begin without reading all that waits, also where nothing waited for long', async () => {
    const url = await server.freshDatabase();
    const store = await openPostgresStore({ url, poolMax: 1 });
    const ready = () => store.system.readyTurns({ most: 32, perLane: 8, waitedMs: 0, full: [] });
    const client = new Client({ connectionString: url });
    await client.connect();
    await client.query('alter table queued_turns set (autovacuum_enabled = false)');
    for (let look = 0; look < 8; look += 1) expect(await ready()).toEqual([]);
    await client.query(
      `insert into queued_turns (tenant, id, subject, assistant, environment, "release", background, settings, input, queued_at_ms)
       select 't', 'turn_' || 10000 + n, 'ann', 'guide', 'production', 'r', 1, '', '', n from generate_series(1, 5000) as s(n)`,
    );
    for (let look = 0; look < 8; look += 1) expect(await ready()).toHaveLength(8);
    // What it read is counted once its connection is over.
    await store.close();
    const count = async (text: string) => (await client.query<{ count: number }>(text)).rows[0]!.count;
    const connections = `select count(*)::int as count from pg_stat_activity where application_name = 'usher'`;
    await expect.poll(() => count(connections), { timeout: 10_000 }).toBe(0);
    const read = `select sum(idx_tup_read)::int as count from pg_stat_user_indexes where relname = 'queued_turns'`;
    expect(await count(read)).toBeLessThan(500);
    await client.end();
  });

  test('a closed store refuses what comes later, and closes twice without harm', async () => {
    const store = await openPostgresStore({ url: await server.freshDatabase(), poolMax: 1 });
    await store.close();
    await store.close();
    await expect(store.probe()).rejects.toMatchObject({ code: 'shutting_down' });
  });
});
