import { describe, expect, test } from 'vitest';
import type { Id } from '#base';
import { authorise, type AccessPolicy } from './authorise.ts';
import {
  scopes,
  type KeyPrincipal,
  type Scope,
  type SubjectId,
  type TenantId,
  type UserPrincipal,
} from './principal.ts';

const tenant = 'north' as TenantId;
const keyWith = (...held: Scope[]): KeyPrincipal => ({
  kind: 'key',
  tenant,
  keyId: 'key_1' as Id<'key'>,
  scopes: new Set(held),
});
const user: UserPrincipal = {
  kind: 'user',
  tenant,
  subject: 'ada' as SubjectId,
  assistant: 'guide',
  expiresAtMs: Number.MAX_SAFE_INTEGER,
};
const policy = (scope: Scope, ...kinds: ('key' | 'user')[]): AccessPolicy => ({ access: 'principal', kinds, scope });

describe('authorising', () => {
  test('lets a key through for each scope that it holds, and for no other', () => {
    for (const held of scopes) {
      for (const wanted of scopes) {
        const { verdict } = authorise(keyWith(held), policy(wanted, 'key'));
        expect(verdict).toBe(held === wanted ? 'allow' : 'deny');
      }
    }
    expect(authorise(keyWith(), policy('talk', 'key')).verdict).toBe('deny');
  });

  test('lets an end user talk, and nothing else even where users are let in', () => {
    expect(authorise(user, policy('talk', 'key', 'user')).verdict).toBe('allow');
    expect(authorise(user, policy('users', 'key', 'user')).verdict).toBe('deny');
    expect(authorise(user, policy('manage', 'key', 'user')).verdict).toBe('deny');
  });

  test('keeps out the kind that a route is not for, whatever its scopes', () => {
    expect(authorise(user, policy('talk', 'key'))).toEqual({ verdict: 'deny', mend: 'This needs an API key.' });
    expect(authorise(keyWith(...scopes), policy('talk', 'user'))).toEqual({
      verdict: 'deny',
      mend: 'This needs an end-user token.',
    });
    expect(authorise(keyWith(...scopes), policy('talk')).verdict).toBe('deny');
  });

  test('names the scope that is missing', () => {
    expect(authorise(keyWith('talk'), policy('manage', 'key'))).toEqual({
      verdict: 'deny',
      mend: expect.stringContaining('"manage"') as string,
    });
  });
});
