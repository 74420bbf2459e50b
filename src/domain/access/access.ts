export { apiKeyDigest, apiKeyPrefix, checkApiKey, hashApiKey, makeApiKey, type ApiKey } from './api-key.ts';
export { authorise, type AccessPolicy, type Verdict } from './authorise.ts';
export { credentialOf, type Credential, type CredentialHeaders } from './credential.ts';
export {
  reachOf,
  scopes,
  type KeyPrincipal,
  type Principal,
  type Reach,
  type Scope,
  type SubjectId,
  type TenantId,
  type UserPrincipal,
} from './principal.ts';
