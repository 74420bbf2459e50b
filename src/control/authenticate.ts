import { LRUCache } from 'lru-cache';
import { UsherError, type Clock } from '#base';
import {
  apiKeyDigest,
  credentialOf,
  type ApiKey,
  type CredentialHeaders,
  type KeyPrincipal,
  type Principal,
  type TenantId,
} from '#access';
import type { ApiKeyRow, SystemStore } from '#store';
import type { Telemetry } from '#telemetry';
import type { Vault } from '#vault';
import { freshRead } from './fresh-read.ts';
import { readUserToken, tokenRefused } from './user-tokens.ts';

export interface Authenticator {
  /**
   * Who calls. A revocation committed on any node before the request came holds for it.
   * @throws UsherError `invalid_credentials` with the mend; unknown, revoked and expired keys look
   * the same to the caller.
   */
  readonly authenticate: (headers: CredentialHeaders) => Promise<Principal>;
}

export interface AuthenticatorParts {
  readonly system: Pick<SystemStore, 'apiKeyByHash' | 'accessRevision'>;
  readonly vault: Vault;
  /** Those of the configuration: a key of a tenant that is no longer there opens nothing. */
  readonly tenants: { has(tenant: TenantId): boolean };
  readonly clock: Clock;
  readonly telemetry: Pick<Telemetry, 'keyRejected'>;
}

/** What a key's row said at one access revision. */
interface KnownKey {
  readonly revision: number;
  readonly row: ApiKeyRow;
  readonly principal: KeyPrincipal;
}

/** About 1 KB each. */
const knownMax = 10_000;

/**
 * Turns headers into a principal. What is known of a key is kept under its whole SHA-256 and used
 * only while the access revision stands at which it was read; the revision is read anew after each
 * request's arrival, once for all requests that wait at that moment. Unknown keys are not kept, so
 * that a flood of invented ones pushes nobody out.
 */
export function openAuthenticator(parts: AuthenticatorParts): Authenticator {
  const known = new LRUCache<string, KnownKey>({ max: knownMax });
  /** Reads under way by revision and hash: one for all requests of a key that wait at once. */
  const reading = new Map<string, Promise<KnownKey | undefined>>();
  const revision = freshRead(() => parts.system.accessRevision());

  async function lookUp(key: ApiKey): Promise<KnownKey | undefined> {
    const name = apiKeyDigest(key);
    const current = await revision();
    const kept = known.get(name);
    if (kept?.revision === current) return kept;
    const readName = `${current} ${name}`;
    const running = reading.get(readName) ?? readKey(Buffer.from(name, 'hex'), current);
    reading.set(readName, running);
    try {
      const read = await running;
      if (read === undefined) known.delete(name);
      else known.set(name, read);
      return read;
    } finally {
      reading.delete(readName);
    }
  }

  async function readKey(hash: Buffer, revision: number): Promise<KnownKey | undefined> {
    const row = await parts.system.apiKeyByHash(hash);
    if (row === undefined || !hash.equals(row.hash)) return undefined;
    return { revision, row, principal: principalOf(row) };
  }

  async function openKey(key: ApiKey): Promise<KeyPrincipal> {
    const found = await lookUp(key);
    const reason = found === undefined ? 'unknown' : rejection(found.row, parts);
    if (found === undefined || reason !== undefined) {
      parts.telemetry.keyRejected({ reason: reason ?? 'unknown' });
      throw new UsherError(
        'invalid_credentials',
        'The API key is not valid: it is unknown, revoked or expired. Make one with: usher keys create',
      );
    }
    return found.principal;
  }

  async function openToken(token: string): Promise<Principal> {
    const read = await readUserToken(parts, token);
    if (read.result === 'opened') return { kind: 'user', ...read.visitor };
    parts.telemetry.keyRejected({ reason: read.reason });
    throw tokenRefused();
  }

  return {
    authenticate: async (headers) => {
      const credential = credentialOf(headers);
      switch (credential.kind) {
        case 'key':
          return openKey(credential.key);
        case 'token':
          return openToken(credential.token);
        case 'malformed':
          parts.telemetry.keyRejected({ reason: 'malformed' });
          throw new UsherError('invalid_credentials', credential.mend);
        case 'none':
          throw new UsherError(
            'invalid_credentials',
            'No API key was sent. Send one in the header: Authorization: Bearer usher_...',
          );
      }
    },
  };
}

function rejection(
  row: ApiKeyRow,
  { tenants, clock }: AuthenticatorParts,
): 'unknown' | 'revoked' | 'expired' | undefined {
  if (!tenants.has(row.tenant)) return 'unknown';
  if (row.revokedAtMs !== null) return 'revoked';
  if (row.expiresAtMs !== null && row.expiresAtMs <= clock.wallMs()) return 'expired';
  return undefined;
}

function principalOf({ tenant, id, scopes }: ApiKeyRow): KeyPrincipal {
  return Object.freeze({ kind: 'key', tenant, keyId: id, scopes: new Set(scopes) });
}
