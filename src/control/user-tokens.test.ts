import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { systemClock, type Clock } from '#base';
import { credentialOf, type SubjectId, type TenantId } from '#access';
import type { Store } from '#store';
import { openSqliteStore } from '#store/sqlite';
import { openRootKeys, openVault, type Vault } from '#vault';
import { openUserTokens, type UserTokens } from './user-tokens.ts';

const north = 'north' as TenantId;
const south = 'south' as TenantId;
const gone = 'gone' as TenantId;
const ada = 'ada' as SubjectId;
const grant = { tenant: north, assistant: 'guide', subject: ada };
const startMs = 1_800_000_000_000;
const refused = expect.objectContaining({
  code: 'invalid_credentials',
  message: 'The token is not valid or has expired. Ask for a new one.',
});

let folder: string;
let store: Store;
let vault: Vault;
let tokens: UserTokens;
let nowMs: number;
const clock: Clock = { wallMs: () => nowMs, monotonicMs: () => systemClock.monotonicMs() };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-tokens-'));
  store = await openSqliteStore({ path: join(folder, 'usher.db') });
  const roots = await openRootKeys({ dataDir: folder, given: [randomBytes(32)], hasTenantKeys: false });
  vault = openVault({ keys: store.system, roots });
  tokens = openUserTokens({ vault, tenants: new Set([north, south]), clock });
});
beforeEach(() => {
  nowMs = startMs;
});
afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

/** A token as ours would be, but for one change, signed with the real key of a tenant. */
async function forge(change: {
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
  readonly signedFor?: TenantId;
  readonly purpose?: string;
}): Promise<string> {
  const own = decodeJwt((await tokens.mintUserToken(grant)).token);
  const claims = Object.entries({ ...own, ...change.claims }).filter(([, value]) => value !== undefined);
  const key = await vault.derive(change.signedFor ?? north, change.purpose ?? 'user-token');
  return new SignJWT(Object.fromEntries(claims))
    .setProtectedHeader({ alg: 'HS256', typ: 'usher-user+jwt', ...change.header })
    .sign(createSecretKey(key));
}

describe('a user token', () => {
  test('opens for 15 minutes, to the second, as who it was minted for', async () => {
    const { token, expiresAtMs } = await tokens.mintUserToken(grant);
    expect(expiresAtMs).toBe(startMs + 900_000);
    nowMs = startMs + 899_999;
    expect(await tokens.openUserToken(token)).toEqual({ kind: 'user', ...grant, expiresAtMs });
    nowMs += 1;
    await expect(tokens.openUserToken(token)).rejects.toThrow(refused);
  });

  test('is told from an API key by its shape', async () => {
    const { token } = await tokens.mintUserToken(grant);
    expect(credentialOf({ authorization: `Bearer ${token}` })).toEqual({ kind: 'token', token });
  });

  test('opens on another node and after a restart', async () => {
    const { token } = await tokens.mintUserToken(grant);
    const other = openUserTokens({ vault, tenants: new Set([north]), clock });
    expect((await other.openUserToken(token)).subject).toBe(ada);
  });

  test.each<[string, Parameters<typeof forge>[0]]>([
    ['names another tenant', { claims: { tenant: south } }],
    ['was signed with the key of another tenant', { signedFor: south }],
    ['names no tenant', { claims: { tenant: undefined } }],
    ['names a tenant that is not configured', { claims: { tenant: gone } }],
    ['names a tenant that is no name', { claims: { tenant: { toString: 'north' } } }],
    ['is for another audience', { claims: { aud: 'usher:visitor' } }],
    ['is for no audience', { claims: { aud: undefined } }],
    ['is of another issuer', { claims: { iss: 'https://evil.example' } }],
    ['is of no issuer', { claims: { iss: undefined } }],
    ['is about nobody', { claims: { sub: undefined } }],
    ['is longer than any of ours', { claims: { more: 'x'.repeat(5_000) } }],
    ['is about an empty name', { claims: { sub: '' } }],
    ['is for no assistant', { claims: { assistant: undefined } }],
    ['never expires', { claims: { exp: undefined } }],
    ['expires at a word', { claims: { exp: 'never' } }],
    ['has no time of issue', { claims: { iat: undefined } }],
    ['is of another type', { header: { typ: 'usher-visitor+jwt' } }],
    ['is of no type', { header: { typ: undefined } }],
    ['was signed with the key for visitors', { purpose: 'visitor' }],
  ])('is refused when it %s', async (_, change) => {
    const token = await forge(change);
    await expect(tokens.openUserToken(token)).rejects.toThrow(refused);
  });

  test('is made as the forgeries are, so that each is refused for its one change', async () => {
    expect((await tokens.openUserToken(await forge({}))).subject).toBe(ada);
  });

  test('is refused unsigned, with no algorithm or another one', async () => {
    const { token } = await tokens.mintUserToken(grant);
    const [, payload] = token.split('.');
    const unsigned = new UnsecuredJWT(decodeJwt(token)).encode();
    const part = (header: object) => Buffer.from(JSON.stringify(header)).toString('base64url');
    const none = part({ alg: 'none', typ: 'usher-user+jwt' });
    const key = await vault.derive(north, 'user-token');
    const signed = `${part({ alg: 'HS512', typ: 'usher-user+jwt' })}.${payload}`;
    const stronger = `${signed}.${createHmac('sha512', key).update(signed).digest('base64url')}`;
    for (const bad of [unsigned, `${none}.${payload}.`, `${none}.${payload}.c2ln`, stronger]) {
      await expect(tokens.openUserToken(bad)).rejects.toThrow(refused);
    }
  });

  test('is refused with any one character changed, and cut short anywhere', async () => {
    const { token } = await tokens.mintUserToken(grant);
    for (let at = 0; at < token.length; at += 1) {
      // The last character of a part carries unused bits: another one may stand for the same bytes.
      const last = at + 1 === token.length || token[at + 1] === '.';
      const other = token[at] === 'A' ? 'B' : 'A';
      const changed = token.slice(0, at) + (last ? '.' : other) + token.slice(at + 1);
      await expect(tokens.openUserToken(changed)).rejects.toThrow(refused);
      await expect(tokens.openUserToken(token.slice(0, at))).rejects.toThrow(refused);
    }
  });

  test('makes no key for a tenant that only a stranger names', async () => {
    const key = createSecretKey(randomBytes(32));
    const token = await new SignJWT({ ...decodeJwt((await tokens.mintUserToken(grant)).token), tenant: gone })
      .setProtectedHeader({ alg: 'HS256', typ: 'usher-user+jwt' })
      .sign(key);
    await expect(tokens.openUserToken(token)).rejects.toThrow(refused);
    expect(await store.system.tenantKey(gone)).toBeUndefined();
  });

  test.each(['', 'x'.repeat(257), 'a\nb', 'lone \ud800'])('is not minted for the subject %j', async (subject) => {
    await expect(tokens.mintUserToken({ ...grant, subject: subject as SubjectId })).rejects.toThrow(
      expect.objectContaining({ code: 'invalid_request', param: 'subject' }),
    );
  });

  test('carries no more than who, where and until when', async () => {
    const { token } = await tokens.mintUserToken(grant);
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'usher-user+jwt' });
    expect(Object.keys(decodeJwt(token)).toSorted()).toEqual([
      'assistant',
      'aud',
      'exp',
      'iat',
      'iss',
      'sub',
      'tenant',
    ]);
  });
});

describe('a visitor credential', () => {
  test('stands for a new visitor each time, and for the same one when renewed', async () => {
    const [one, two] = [await tokens.mintVisitor(grantless()), await tokens.mintVisitor(grantless())];
    expect(one.subject).toMatch(/^visitor_[0-9a-f]{32}$/);
    expect(one.subject).not.toBe(two.subject);
    const renewed = await tokens.mintVisitor({ ...grantless(), subject: one.subject });
    expect(await tokens.openVisitor(renewed.token)).toEqual({
      ...grantless(),
      subject: one.subject,
      expiresAtMs: renewed.expiresAtMs,
    });
  });

  test('is good for 400 days and then no more', async () => {
    const { token, expiresAtMs } = await tokens.mintVisitor(grantless());
    expect(expiresAtMs - startMs).toBe(400 * 86_400_000);
    nowMs = expiresAtMs - 1;
    await expect(tokens.openVisitor(token)).resolves.toBeDefined();
    nowMs = expiresAtMs;
    await expect(tokens.openVisitor(token)).rejects.toThrow(refused);
  });

  test('never passes as a user token, nor a user token as it', async () => {
    const visitor = await tokens.mintVisitor(grant);
    const user = await tokens.mintUserToken(grant);
    await expect(tokens.openUserToken(visitor.token)).rejects.toThrow(refused);
    await expect(tokens.openVisitor(user.token)).rejects.toThrow(refused);
    const dressedUp = await forge({ claims: { aud: 'usher:visitor' }, header: { typ: 'usher-visitor+jwt' } });
    await expect(tokens.openVisitor(dressedUp)).rejects.toThrow(refused);
  });
});

function grantless() {
  return { tenant: north, assistant: 'guide' };
}
