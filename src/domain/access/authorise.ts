import type { Principal, Scope } from './principal.ts';

/** Who may use a route, as far as the decision needs it. */
export type AccessPolicy =
  | { readonly access: 'public' }
  | { readonly access: 'principal'; readonly kinds: readonly Principal['kind'][]; readonly scope: Scope };

/** `mend` is a sentence for the caller. */
export type Verdict = { readonly verdict: 'allow' } | { readonly verdict: 'deny'; readonly mend: string };

/** Whether the policy lets the principal through. An end user holds the scope `talk`, and no other. */
export function authorise(principal: Principal, policy: AccessPolicy): Verdict {
  if (policy.access === 'public') return { verdict: 'allow' };
  if (!policy.kinds.includes(principal.kind)) {
    const wanted = policy.kinds.includes('key') ? 'an API key' : 'an end-user token';
    return { verdict: 'deny', mend: `This needs ${wanted}.` };
  }
  const held = principal.kind === 'user' ? policy.scope === 'talk' : principal.scopes.has(policy.scope);
  if (held) return { verdict: 'allow' };
  const mend = `This needs the scope "${policy.scope}", which the credential does not hold. Make a key with it: usher keys create --scope ${policy.scope}`;
  return { verdict: 'deny', mend };
}
