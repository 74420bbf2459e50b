import { createSecretKey } from 'node:crypto';
import { decodeJwt, errors, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { newId, UsherError, type Clock } from '#base';
import type { SubjectId, TenantId, UserPrincipal } from '#access';
import type { Vault } from '#vault';

/** Who a token is about, and the one assistant that it lets them talk to. */
export interface UserGrant {
  readonly tenant: TenantId;
  readonly assistant: string;
  readonly subject: SubjectId;
}

export interface MintedToken {
  readonly token: string;
  readonly subject: SubjectId;
  readonly expiresAtMs: number;
}

/** What a visitor credential says about the browser that keeps it. */
export interface Visitor extends UserGrant {
  readonly expiresAtMs: number;
}

/** Tokens for people at the chat page and the widget, signed under a key of their tenant. */
export interface UserTokens {
  /** What requests carry: 15 minutes. @throws UsherError `invalid_request` for an unusable subject. */
  mintUserToken(grant: UserGrant): Promise<MintedToken>;
  /** @throws UsherError `invalid_credentials` unless it is a whole, current user token of a known tenant. */
  openUserToken(token: string): Promise<UserPrincipal>;
  /**
   * What a browser keeps to get user tokens with: 400 days, the longest that browsers keep a
   * cookie. Without a subject, a new visitor. It opens nothing by itself.
   */
  mintVisitor(grant: Omit<UserGrant, 'subject'> & { readonly subject?: SubjectId }): Promise<MintedToken>;
  /** @throws UsherError `invalid_credentials` unless it is a whole, current visitor credential of a known tenant. */
  openVisitor(token: string): Promise<Visitor>;
}

export interface UserTokensParts {
  readonly vault: Vault;
  /** Those of the configuration. */
  readonly tenants: { has(tenant: TenantId): boolean };
  readonly clock: Clock;
}

/** A kind of token. Key, audience and type all differ, so that none passes as another. */
interface Kind {
  readonly purpose: string;
  readonly audience: string;
  readonly type: string;
  readonly lifetimeS: number;
}

const userToken: Kind = {
  purpose: 'user-token',
  audience: 'usher:user',
  type: 'usher-user+jwt',
  lifetimeS: 15 * 60,
};
const visitorToken: Kind = {
  purpose: 'visitor',
  audience: 'usher:visitor',
  type: 'usher-visitor+jwt',
  lifetimeS: 400 * 24 * 3_600,
};

const issuer = 'usher';
const algorithm = 'HS256';
/** Ours are under 1,000; what is longer is not even parsed. */
const charactersMax = 4_096;
/** Besides those that are demanded by their value. */
const requiredClaims = ['sub', 'tenant', 'assistant', 'iat', 'exp'];
const subjectSchema = z
  .string()
  .min(1)
  .max(256)
  .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text))
  // What applications say for nobody in particular is kept under such names: no person's token may open it.
  .refine((text) => !text.startsWith('app:'));
const claimsSchema = z.object({
  sub: subjectSchema,
  tenant: z.string().min(1),
  assistant: z.string().min(1),
  exp: z.number(),
});

export function openUserTokens(parts: UserTokensParts): UserTokens {
  const openAs = async (kind: Kind, token: string): Promise<Visitor> => {
    const read = await readToken(parts, kind, token);
    if (read.result === 'refused') throw tokenRefused();
    return read.visitor;
  };
  return {
    mintUserToken: (grant) => mint(parts, userToken, grant),
    openUserToken: async (token) => ({ kind: 'user', ...(await openAs(userToken, token)) }),
    mintVisitor: ({ tenant, assistant, subject }) =>
      mint(parts, visitorToken, { tenant, assistant, subject: subject ?? newVisitor(parts.clock) }),
    openVisitor: (token) => openAs(visitorToken, token),
  };
}

/** For the authenticator, which reports the reason and tells it to nobody else. */
export function readUserToken(parts: UserTokensParts, token: string): Promise<TokenReading> {
  return readToken(parts, userToken, token);
}

export type TokenReading =
  | { readonly result: 'opened'; readonly visitor: Visitor }
  | { readonly result: 'refused'; readonly reason: 'unknown' | 'expired' };

/** The same words for every reason: the caller learns nothing about keys and tenants. */
export function tokenRefused(): UsherError {
  return new UsherError('invalid_credentials', 'The token is not valid or has expired. Ask for a new one.');
}

async function mint({ vault, clock }: UserTokensParts, kind: Kind, grant: UserGrant): Promise<MintedToken> {
  if (!subjectSchema.safeParse(grant.subject).success) {
    throw new UsherError(
      'invalid_request',
      'A subject is 1 to 256 characters of text without control characters, and does not begin with "app:".',
      {
        param: 'subject',
      },
    );
  }
  const issuedAtS = Math.floor(clock.wallMs() / 1_000);
  const expiresAtS = issuedAtS + kind.lifetimeS;
  const token = await new SignJWT({ tenant: grant.tenant, assistant: grant.assistant })
    .setProtectedHeader({ alg: algorithm, typ: kind.type })
    .setIssuer(issuer)
    .setAudience(kind.audience)
    .setSubject(grant.subject)
    .setIssuedAt(issuedAtS)
    .setExpirationTime(expiresAtS)
    .sign(await signingKey(vault, grant.tenant, kind));
  return { token, subject: grant.subject, expiresAtMs: expiresAtS * 1_000 };
}

async function readToken(parts: UserTokensParts, kind: Kind, token: string): Promise<TokenReading> {
  const tenant = token.length > charactersMax ? undefined : claimedTenant(token);
  // A claim from a stranger: it may choose among the keys that exist, never make one.
  if (tenant === undefined || !parts.tenants.has(tenant)) return { result: 'refused', reason: 'unknown' };
  const key = await signingKey(parts.vault, tenant, kind);
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [algorithm],
      typ: kind.type,
      issuer,
      audience: kind.audience,
      requiredClaims,
      currentDate: new Date(parts.clock.wallMs()),
    });
    const { sub, assistant, exp } = claimsSchema.parse(payload);
    return { result: 'opened', visitor: { tenant, subject: sub as SubjectId, assistant, expiresAtMs: exp * 1_000 } };
  } catch (error) {
    return { result: 'refused', reason: error instanceof errors.JWTExpired ? 'expired' : 'unknown' };
  }
}

/** The tenant that an unverified token names: only good to choose the key that then verifies it. */
function claimedTenant(token: string): TenantId | undefined {
  try {
    const { tenant } = decodeJwt(token);
    return typeof tenant === 'string' ? (tenant as TenantId) : undefined;
  } catch {
    return undefined;
  }
}

async function signingKey(vault: Vault, tenant: TenantId, { purpose }: Kind) {
  return createSecretKey(await vault.derive(tenant, purpose));
}

function newVisitor(clock: Clock): SubjectId {
  return newId('visitor', clock.wallMs()) as string as SubjectId;
}
