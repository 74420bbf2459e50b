import { checkApiKey, type ApiKey } from './api-key.ts';

/** The headers that may carry a credential, lower case as Node gives them. */
export interface CredentialHeaders {
  readonly [name: string]: string | readonly string[] | undefined;
}

/** A credential by its shape; nothing about it is believed yet. */
export type Credential =
  | { readonly kind: 'key'; readonly key: ApiKey }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'none' }
  | { readonly kind: 'malformed'; readonly mend: string };

const plainHeaders = ['api-key', 'x-api-key'] as const;
/** Tokens of ours are under 1,000 characters; hashing and parsing stay cheap for those who lie. */
const charactersMax = 4_096;
const tokenShape = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * The one credential of a request, whichever header it came in: `Authorization: Bearer`,
 * `api-key` or `x-api-key`. The same one in several headers is one; two different ones are
 * malformed, so that no part of the server can act on another credential than was checked.
 */
export function credentialOf(headers: CredentialHeaders): Credential {
  const found = new Set<string>();
  for (const value of valuesOf(headers, 'authorization')) {
    const bearer = /^bearer +(\S+) *$/i.exec(value)?.[1];
    if (bearer === undefined) return malformed('The Authorization header must read: Bearer, a space, and the key.');
    found.add(bearer);
  }
  for (const name of plainHeaders) for (const value of valuesOf(headers, name)) found.add(value.trim());
  const [text] = found;
  if (text === undefined) return { kind: 'none' };
  if (found.size > 1) return malformed('The request carries two different credentials. Send one.');
  return byShape(text);
}

function byShape(text: string): Credential {
  if (checkApiKey(text)) return { kind: 'key', key: text };
  if (text.length <= charactersMax && tokenShape.test(text)) return { kind: 'token', token: text };
  return malformed('The API key is not whole: copy it once more, from "usher_" to its last character.');
}

function valuesOf(headers: CredentialHeaders, name: string): readonly string[] {
  const value = headers[name];
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}

function malformed(mend: string): Credential {
  return { kind: 'malformed', mend };
}
