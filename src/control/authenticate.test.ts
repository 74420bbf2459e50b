import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock, type Clock } from '#base';
import { hashApiKey, makeApiKey, type ApiKey, type Scope, type SubjectId, type TenantId } from '#access';
import type { ApiKeyRow, Store, SystemStore } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openRootKeys, openVault, type Vault } from '#vault';
import { openAuthenticator } from './authenticate.ts';
import { manageKeys } from './manage-keys.ts';
import { openUserTokens } from './user-tokens.ts';

const refusedKey = expect.objectContaining({
  code: 'invalid_credentials',
  message: 'The API key is not valid: it is unknown, revoked or expired. Make one with: usher keys create',
});

/** One store for all tests, two tenants of its own for each. */
let folder: string;
let store: Store;
let vault: Vault;
let north: TenantId;
let south: TenantId;
let tests = 0;
let nowMs: number;
let rejections: string[];
let reads: { revisions: number; rows: number };
const clock: Clock = { wallMs: () => nowMs, monotonicMs: () => systemClock.monotonicMs() };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-authenticate-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  const roots = await openRootKeys({ dataDir: folder, given: [randomBytes(32)], hasTenantKeys: false });
  vault = openVault({ keys: store.system, roots });
});
afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  tests += 1;
  north = `north-${tests}` as TenantId;
  south = `south-${tests}` as TenantId;
  nowMs = 1_800_000_000_000;
  rejections = [];
  reads = { revisions: 0, rows: 0 };
});

/** The real store, with its reads counted. */
const counted = (system: SystemStore): Pick<SystemStore, 'apiKeyByHash' | 'accessRevision'> => ({
  apiKeyByHash: (hash) => {
    reads.rows += 1;
    return system.apiKeyByHash(hash);
  },
  accessRevision: () => {
    reads.revisions += 1;
    return system.accessRevision();
  },
});

const authenticator = (overrides: { tenants?: Set<TenantId>; system?: ReturnType<typeof counted> } = {}) =>
  openAuthenticator({
    system: counted(store.system),
    vault,
    tenants: new Set([north, south]),
    clock,
    telemetry: { keyRejected: ({ reason }) => rejections.push(reason) },
    ...overrides,
  });

const createKey = (tenant = north, scopes: Scope[] = ['talk'], expiresAtMs: number | null = null) =>
  manageKeys({ system: store.system, clock }).create(tenant, { name: 'a key', scopes, expiresAtMs }, 'cli');
const bearer = (credential: string) => ({ authorization: `Bearer ${credential}` });

describe('authenticating an API key', () => {
  test('answers its tenant, id and scopes, by every header form alike', async () => {
    const { key, view } = await createKey(south, ['talk', 'manage']);
    const { authenticate } = authenticator();
    for (const headers of [bearer(key), { 'api-key': key }, { 'x-api-key': key }]) {
      expect(await authenticate(headers)).toEqual({
        kind: 'key',
        tenant: south,
        keyId: view.id,
        scopes: new Set(['talk', 'manage']),
      });
    }
  });

  test('refuses none, one of another make, and two at once, each with its mend', async () => {
    const [one, two] = [(await createKey()).key, (await createKey()).key];
    const { authenticate } = authenticator();
    const refusal = (mend: RegExp) =>
      expect.objectContaining({ code: 'invalid_credentials', message: expect.stringMatching(mend) as string });
    await expect(authenticate({})).rejects.toThrow(refusal(/No API key/));
    await expect(authenticate(bearer('sk-123'))).rejects.toThrow(refusal(/not whole/));
    await expect(authenticate({ ...bearer(one), 'x-api-key': two })).rejects.toThrow(refusal(/two different/));
    expect(rejections).toEqual(['malformed', 'malformed']);
  });

  test('asks the store nothing for text that is no key, SQL least of all', async () => {
    const { authenticate } = authenticator();
    for (const text of ["' OR '1'='1", "usher_'; DROP TABLE api_keys; --", 'usher_%', `usher_${'0'.repeat(33)}`]) {
      await expect(authenticate({ 'api-key': text })).rejects.toThrow(
        expect.objectContaining({ code: 'invalid_credentials' }),
      );
    }
    expect(reads).toEqual({ revisions: 0, rows: 0 });
  });

  test('tells the caller the same of an unknown, a revoked, an expired and an orphaned key', async () => {
    const keys = manageKeys({ system: store.system, clock });
    const revoked = await createKey();
    await keys.revoke(north, revoked.view.id, 'cli');
    const expired = await createKey(north, ['talk'], nowMs + 1_000);
    const orphaned = await createKey('gone' as TenantId);
    nowMs += 1_000;
    const { authenticate } = authenticator();
    for (const key of [makeApiKey(), revoked.key, expired.key, orphaned.key]) {
      await expect(authenticate(bearer(key))).rejects.toThrow(refusedKey);
    }
    expect(rejections).toEqual(['unknown', 'revoked', 'expired', 'unknown']);
  });

  test('refuses a key that expires while it is kept, without a change in the store', async () => {
    const { key } = await createKey(north, ['talk'], nowMs + 60_000);
    const { authenticate } = authenticator();
    await authenticate(bearer(key));
    nowMs += 59_999;
    await authenticate(bearer(key));
    nowMs += 1;
    await expect(authenticate(bearer(key))).rejects.toThrow(refusedKey);
  });

  test('holds a revocation at once on every node, each with what it had kept', async () => {
    const { key, view } = await createKey();
    const elsewhere = await openSqliteStore({ path: join(folder, 'usher.db') });
    const nodes = [authenticator(), authenticator({ system: counted(elsewhere.system) })];
    for (const { authenticate } of nodes) await authenticate(bearer(key));
    await manageKeys({ system: store.system, clock }).revoke(north, view.id, 'cli');
    for (const { authenticate } of nodes) await expect(authenticate(bearer(key))).rejects.toThrow(refusedKey);
    await elsewhere.close();
  });

  test('holds a revocation for whoever comes after it, in the midst of other requests', async () => {
    const { key, view } = await createKey();
    const { authenticate } = authenticator();
    const crowd = Array.from({ length: 50 }, () =>
      authenticate(bearer(key)).then(
        () => 'let in',
        () => 'refused',
      ),
    );
    const revoking = manageKeys({ system: store.system, clock }).revoke(north, view.id, 'cli');
    const meanwhile = Array.from({ length: 50 }, () => authenticate(bearer(key)).catch(() => undefined));
    await revoking;
    const after = Array.from({ length: 50 }, () =>
      authenticate(bearer(key)).then(
        () => 'let in',
        () => 'refused',
      ),
    );
    expect(new Set(await Promise.all(after))).toEqual(new Set(['refused']));
    await Promise.all([...crowd, ...meanwhile]);
  });

  test('reads the revision once for many requests at once, and a row once per change of keys', async () => {
    const { key } = await createKey();
    const { authenticate } = authenticator();
    await Promise.all(Array.from({ length: 200 }, () => authenticate(bearer(key))));
    expect(reads.revisions).toBe(2);
    expect(reads.rows).toBeLessThanOrEqual(2);
    const rowsBefore = reads.rows;
    await Promise.all(Array.from({ length: 200 }, () => authenticate(bearer(key))));
    expect(reads.rows).toBe(rowsBefore);
    await createKey();
    await Promise.all(Array.from({ length: 200 }, () => authenticate(bearer(key))));
    expect(reads.rows).toBe(rowsBefore + 1);
  });

  test('never takes one key for another that begins alike', async () => {
    const twins = [0, 1].map((last) => makeApiKey(new Uint8Array(20).fill(7).with(19, last)));
    expect(twins[0]!.slice(0, 30)).toBe(twins[1]!.slice(0, 30));
    await putKey(twins[0]!, north);
    await putKey(twins[1]!, south);
    const { authenticate } = authenticator();
    for (let round = 0; round < 2; round += 1) {
      expect((await authenticate(bearer(twins[0]!))).tenant).toBe(north);
      expect((await authenticate(bearer(twins[1]!))).tenant).toBe(south);
    }
  });

  test('refuses a row that the store answers for another hash', async () => {
    const { key } = await createKey();
    const row = await store.system.apiKeyByHash(hashApiKey(key));
    const loose = { ...counted(store.system), apiKeyByHash: () => Promise.resolve(row) };
    const { authenticate } = authenticator({ system: loose });
    await expect(authenticate(bearer(makeApiKey()))).rejects.toThrow(refusedKey);
  });

  test('is not weakened by a store that fails: the request fails, the next is served', async () => {
    const { key } = await createKey();
    let failures = 1;
    const system = counted(store.system);
    const { authenticate } = authenticator({
      system: {
        ...system,
        accessRevision: async () => {
          if (failures-- > 0) throw new Error('the store is away');
          return system.accessRevision();
        },
      },
    });
    await expect(authenticate(bearer(key))).rejects.toThrow('the store is away');
    expect((await authenticate(bearer(key))).tenant).toBe(north);
  });
});

describe('authenticating an end-user token', () => {
  test('answers the person and the assistant, and reads no keys', async () => {
    const tokens = openUserTokens({ vault, tenants: new Set([north]), clock });
    const subject = 'ada' as SubjectId;
    const { token, expiresAtMs } = await tokens.mintUserToken({ tenant: north, assistant: 'guide', subject });
    const { authenticate } = authenticator();
    for (const headers of [bearer(token), { 'x-api-key': token }]) {
      expect(await authenticate(headers)).toEqual({
        kind: 'user',
        tenant: north,
        subject,
        assistant: 'guide',
        expiresAtMs,
      });
    }
    expect(reads).toEqual({ revisions: 0, rows: 0 });
  });

  test('reports why it refused, and tells the caller the same of every reason', async () => {
    const tokens = openUserTokens({ vault, tenants: new Set([north]), clock });
    const grant = { tenant: north, assistant: 'guide', subject: 'ada' as SubjectId };
    const { token } = await tokens.mintUserToken(grant);
    const visitor = await tokens.mintVisitor(grant);
    nowMs += 15 * 60_000;
    const { authenticate } = authenticator();
    const refused = expect.objectContaining({
      code: 'invalid_credentials',
      message: 'The token is not valid or has expired. Ask for a new one.',
    });
    await expect(authenticate(bearer(token))).rejects.toThrow(refused);
    await expect(authenticate(bearer(visitor.token))).rejects.toThrow(refused);
    await expect(authenticate(bearer('eyJhbGciOiJub25lIn0.e30.c2ln'))).rejects.toThrow(refused);
    expect(rejections).toEqual(['expired', 'unknown', 'unknown']);
  });
});

async function putKey(key: ApiKey, tenant: TenantId): Promise<void> {
  const { view } = await createKey(tenant);
  const row: ApiKeyRow = { ...view, id: `${view.id.slice(0, -1)}x` as ApiKeyRow['id'], hash: hashApiKey(key) };
  const audit = {
    id: `aud_${row.id}` as never,
    tenant,
    atMs: nowMs,
    actor: 'cli',
    action: 'key.create',
    target: row.id,
  };
  await store.system.putApiKey(row, audit);
}
