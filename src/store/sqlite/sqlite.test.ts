import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newId, type Id } from '#base';
import type { SubjectId, TenantId } from '#access';
import { handover, openHandovers } from '../operations/handovers.ts';
import { chainItems } from '../operations/turn-reads.ts';
import type { Session } from '../query.ts';
import { aFinish, aKey, anAudit, anItem, aTenant, aTurn, sealed, storeContract } from '../store.contract.ts';
import { holdsToTheModel } from '../store.model.ts';
import { openSqliteStore } from './sqlite.ts';

let folder: string;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-sqlite-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function freshPath(): string {
  files += 1;
  return join(folder, `${files}.db`);
}

describe('SQLite keeps the contract of the store', () => {
  storeContract(() => openSqliteStore({ path: freshPath(), owner: true }));
});

test('SQLite answers as the model does, whoever asks for whatever', async () => {
  const store = await openSqliteStore({ path: freshPath() });
  await holdsToTheModel(store, 25);
  await store.close();
}, 120_000);

test('SQLite finds by index what is of a response or a handover, however much its tenant has', async () => {
  const path = freshPath();
  await (await openSqliteStore({ path })).close();
  const db = new DatabaseSync(path);
  const plans: string[] = [];
  const session: Session = {
    dialect: 'sqlite',
    rows: ({ sql }, values) => {
      const steps = db.prepare(`explain query plan ${sql}`).all(...(values as string[]));
      plans.push(...steps.map(({ detail }) => String(detail)));
      return Promise.resolve([]);
    },
  };
  for (const subject of [null, 'ann' as SubjectId]) {
    const reach = { tenant: aTenant(), subject };
    await chainItems(session, reach, newId('turn'), 100);
    await handover(session, reach, newId('handover'));
    await openHandovers(session, reach, { limit: 100 });
  }
  db.close();
  expect(plans).toContainEqual(expect.stringContaining('turns_of_handover'));
  expect(plans.filter((step) => /(items|turns|\bt) USING .*\(tenant=\?\)$|SCAN (items|turns|t)\b/.test(step))).toEqual(
    [],
  );
});

test('the access revision is the one last committed, by this process or by another', async () => {
  const path = freshPath();
  const store = await openSqliteStore({ path, owner: true });
  const other = await openSqliteStore({ path });
  for (let committed = 1; committed <= 20; committed += 1) {
    const writer = committed % 2 === 0 ? store : other;
    const tenant = aTenant();
    await writer.system.putApiKey(aKey(tenant), anAudit(tenant));
    await expect(store.system.accessRevision()).resolves.toBe(committed);
  }
  await other.close();
  await store.close();
  await expect(store.system.accessRevision()).rejects.toMatchObject({ code: 'shutting_down' });
});

/** A child process that opens the same file: `write` stores turns and sends each acknowledged id, for ever. */
function child(role: 'write' | 'open', path: string): ChildProcess {
  return fork(new URL('../../../test/support/store-process.ts', import.meta.url), [role, path]);
}

async function filled(path: string, turns: number): Promise<void> {
  const store = await openSqliteStore({ path });
  const tenant = store.reach({ tenant: 'filled' as TenantId, subject: null });
  await Promise.all(
    Array.from({ length: turns }, () => tenant.beginTurn(aTurn({ settings: sealed('x'.repeat(300)) }), [])),
  );
  await store.close();
}

function quickCheck(path: string): unknown {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return db.prepare('pragma quick_check').get();
  } finally {
    db.close();
  }
}

describe('what SQLite acknowledged', () => {
  test('is there after the process was killed in the middle of writing', async () => {
    const path = freshPath();
    const writer = child('write', path);
    const acknowledged: Id<'turn'>[] = [];
    writer.on('message', (id: Id<'turn'>) => {
      acknowledged.push(id);
      if (acknowledged.length === 200) writer.kill('SIGKILL');
    });
    await once(writer, 'exit');
    expect(acknowledged.length).toBeGreaterThanOrEqual(200);
    expect(quickCheck(path)).toMatchObject({ quick_check: 'ok' });
    const store = await openSqliteStore({ path, owner: true });
    const tenant = store.reach({ tenant: 'killed' as TenantId, subject: null });
    for (const id of acknowledged) {
      expect(await tenant.turn(id)).toMatchObject({ state: 'completed' });
      expect(await tenant.turnItems(id, 'output')).toHaveLength(1);
    }
    await store.close();
  });

  test('is committed before the store closes, though nobody waited for it', async () => {
    const path = freshPath();
    const store = await openSqliteStore({ path });
    const tenant = aTenant();
    const turns = Array.from({ length: 600 }, () => aTurn());
    const begun = turns.map((turn) => store.reach({ tenant, subject: null }).beginTurn(turn, []));
    await store.close();
    expect(new Set(await Promise.all(begun))).toEqual(new Set(['begun']));
    const again = await openSqliteStore({ path });
    for (const turn of turns) expect(await again.reach({ tenant, subject: null }).turn(turn.id)).toBeDefined();
    await again.close();
    await expect(again.probe()).rejects.toMatchObject({ code: 'shutting_down' });
  });
});

test('a store with ten thousand operations waiting turns more away, and does those', async () => {
  const store = await openSqliteStore({ path: freshPath() });
  const outcomes = await Promise.allSettled(Array.from({ length: 10_002 }, () => store.system.hasTenantKeys()));
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
  expect(refused).toHaveLength(2);
  for (const { reason } of refused) expect(reason).toMatchObject({ code: 'overloaded' });
  await store.close();
});

describe('several processes on one SQLite file', () => {
  test('may open a new one at the same moment', async () => {
    const path = freshPath();
    const openers = Array.from({ length: 4 }, () => child('open', path));
    const exits = openers.map((opener) => once(opener, 'exit'));
    const results = await Promise.all(openers.map((opener) => once(opener, 'message')));
    expect(results.map(([word]) => word as unknown)).toEqual(['opened', 'opened', 'opened', 'opened']);
    await Promise.all(exits);
  });

  test('take turns: another process writes while the owner is busy, and both see all', async () => {
    const path = freshPath();
    const owner = await openSqliteStore({ path, owner: true });
    const tenant = owner.reach({ tenant: aTenant(), subject: null });
    const writer = child('write', path);
    const acknowledged: Id<'turn'>[] = [];
    writer.on('message', (id: Id<'turn'>) => acknowledged.push(id));
    await once(writer, 'message');
    for (let round = 0; round < 50; round += 1) expect(await tenant.beginTurn(aTurn(), [anItem()])).toBe('begun');
    writer.kill('SIGKILL');
    await once(writer, 'exit');
    const killed = owner.reach({ tenant: 'killed' as TenantId, subject: null });
    for (const id of acknowledged) expect(await killed.turn(id)).toBeDefined();
    await owner.close();
  });

  test('have one owner: a second server is refused with the mend, a short opening is not', async () => {
    const path = freshPath();
    const owner = await openSqliteStore({ path, owner: true });
    await expect(openSqliteStore({ path, owner: true })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/already serves.*--data/) as string,
    });
    const command = await openSqliteStore({ path });
    await command.probe();
    await command.close();
    await owner.probe();
    await owner.close();
    const next = await openSqliteStore({ path, owner: true });
    await next.close();
  });

  test('let a new owner in when the old one was killed', async () => {
    const path = freshPath();
    const writer = child('write', path);
    await once(writer, 'message');
    writer.kill('SIGKILL');
    await once(writer, 'exit');
    const owner = await openSqliteStore({ path, owner: true });
    await owner.probe();
    await owner.close();
  });
});

describe('a SQLite file that is not whole', () => {
  async function refusedUntouched(path: string, code: string, sentence: RegExp): Promise<void> {
    const before = await readFile(path);
    const error: unknown = await openSqliteStore({ path, owner: true }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, message: expect.stringMatching(sentence) as string });
    expect(Buffer.compare(await readFile(path), before)).toBe(0);
  }

  test('is refused when a page was overwritten, and left as it is', async () => {
    const path = freshPath();
    await filled(path, 300);
    const bytes = await readFile(path);
    for (let page = 2; page < bytes.length / 4096; page += 3) bytes.fill(0xa5, page * 4096, page * 4096 + 2048);
    await writeFile(path, bytes);
    await refusedUntouched(path, 'data_damaged', /Nothing was changed.*backup/);
  });

  test('is refused when it was cut short', async () => {
    const path = freshPath();
    await filled(path, 300);
    await truncate(path, Math.floor((await stat(path)).size / 2 / 4096) * 4096 - 100);
    await refusedUntouched(path, 'data_damaged', /Nothing was changed/);
  });

  test('is refused too when the refusal and the end of the thread arrive together', async () => {
    const path = freshPath();
    await writeFile(path, 'My diary. '.repeat(1000));
    const opening = openSqliteStore({ path, owner: true });
    // As on a busy machine: the main thread does not look while the other one refuses and ends.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
    await expect(opening).rejects.toMatchObject({ code: 'data_damaged' });
  });

  test('is refused when it is no database at all', async () => {
    const path = freshPath();
    await writeFile(path, 'My diary. '.repeat(1000));
    await refusedUntouched(path, 'data_damaged', /Nothing was changed/);
  });

  test('is refused when it is the database of another program', async () => {
    const path = freshPath();
    const db = new DatabaseSync(path);
    db.exec('create table notes (text text)');
    db.close();
    await refusedUntouched(path, 'config_invalid', /another program/);
  });

  test('is reported when the damage shows only while reading', async () => {
    const path = freshPath();
    const store = await openSqliteStore({ path });
    const tenant = aTenant();
    const turn = aTurn();
    await store.reach({ tenant, subject: null }).beginTurn(turn, []);
    await store.close();
    const again = await openSqliteStore({ path });
    const bytes = await readFile(path);
    bytes.fill(0xa5, 4096);
    await writeFile(path, bytes);
    await expect(again.reach({ tenant, subject: null }).turn(turn.id)).rejects.toMatchObject({ code: 'data_damaged' });
    await again.close();
  });

  test('is refused when a newer program wrote it, and not when this one can still work on it', async () => {
    const path = freshPath();
    await filled(path, 1);
    const db = new DatabaseSync(path);
    db.exec("insert into schema_migrations (number, name, readable_from) values (900, 'compatible', 1)");
    const readable = await openSqliteStore({ path });
    await readable.close();
    db.exec("insert into schema_migrations (number, name, readable_from) values (901, 'breaking', 901)");
    db.close();
    await refusedUntouched(path, 'config_invalid', /schema 901.*newer version/);
  });

  test('in a folder that cannot be used is refused with the mend', async () => {
    const path = freshPath();
    await writeFile(path, '');
    await expect(openSqliteStore({ path: join(path, 'below.db') })).rejects.toMatchObject({
      code: 'storage_unavailable',
      message: expect.stringMatching(/folder/) as string,
    });
  });
});

describe('a full disk', () => {
  test('refuses writes, one by one, while reads go on, and takes writes again when there is room', async () => {
    const path = freshPath();
    await filled(path, 20);
    const store = await openSqliteStore({ path, bytesMax: 120 * 4096 });
    const tenant = store.reach({ tenant: aTenant(), subject: null });
    const kept: Id<'turn'>[] = [];
    const refusals: unknown[] = [];
    for (let round = 0; round < 20; round += 1) {
      const turns = Array.from({ length: 12 }, () => aTurn({ settings: sealed('x'.repeat(2000)) }));
      const outcomes = await Promise.allSettled(turns.map((turn) => tenant.beginTurn(turn, [anItem()])));
      outcomes.forEach((outcome, index) => {
        if (outcome.status === 'fulfilled') kept.push(turns[index]!.id);
        else refusals.push(outcome.reason);
      });
    }
    expect(refusals.length).toBeGreaterThan(0);
    for (const refusal of refusals) expect(refusal).toMatchObject({ code: 'storage_full' });
    expect(kept.length).toBeGreaterThan(0);
    for (const id of kept) {
      expect(await tenant.turn(id)).toBeDefined();
      expect(await tenant.turnItems(id, 'input')).toHaveLength(1);
    }
    for (const id of kept) expect(await tenant.deleteTurn(id)).toBe(true);
    const turn = aTurn();
    expect(await tenant.beginTurn(turn, [])).toBe('begun');
    expect(await tenant.finishTurn(turn.id, 1, aFinish(), [])).toBe(true);
    await store.close();
    expect(quickCheck(path)).toMatchObject({ quick_check: 'ok' });
  });
});
