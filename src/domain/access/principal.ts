import type { Branded, Id } from '#base';

/** The isolation boundary: a name from `usher.yaml`, `default` where none is declared. */
export type TenantId = Branded<string, 'TenantId'>;

/** The person that content is about, unique within a tenant. Content of one subject is sealed under one key. */
export type SubjectId = Branded<string, 'SubjectId'>;

/**
 * What an API key may do. `talk`: data plane; `users`: mint end-user tokens; `manage`: keys and
 * releases; `operate`: read conversations that were handed over, and answer in them. All of its tenant;
 * `observe` alone is about the whole installation: its nodes and metrics, which name every tenant's assistants.
 */
export const scopes = ['talk', 'users', 'manage', 'operate', 'observe'] as const;
export type Scope = (typeof scopes)[number];

/** An application that calls with an API key: sees the whole of its tenant. */
export interface KeyPrincipal {
  readonly kind: 'key';
  readonly tenant: TenantId;
  readonly keyId: Id<'key'>;
  readonly scopes: ReadonlySet<Scope>;
}

/** A person at the chat page or the widget: sees only what is about them, with one assistant. */
export interface UserPrincipal {
  readonly kind: 'user';
  readonly tenant: TenantId;
  readonly subject: SubjectId;
  readonly assistant: string;
  readonly expiresAtMs: number;
}

/** The authenticated caller. */
export type Principal = KeyPrincipal | UserPrincipal;

/** What the store is reached with: `subject` null means the whole tenant. */
export interface Reach {
  readonly tenant: TenantId;
  readonly subject: SubjectId | null;
}

export function reachOf(principal: Principal): Reach {
  return { tenant: principal.tenant, subject: principal.kind === 'user' ? principal.subject : null };
}
