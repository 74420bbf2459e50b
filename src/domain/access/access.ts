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
