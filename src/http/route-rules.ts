import { UsherError } from '#base';
import type { Route } from './exchange.ts';

/**
 * Where routes with a principal live. Public ones may not lie under the first two, so that a
 * forgotten policy on the API cannot pass for a choice.
 */
const guardedPrefixes = ['/v1/', '/admin/'];
const pagePrefixes = ['/chat/', '/widget/'];

/** Start-up check of the route table. @throws UsherError `config_invalid` naming the route and the mend */
export function checkRoutes(routes: readonly Route[]): void {
  for (const route of routes) {
    const problem = pathProblem(route.path) ?? policyProblem(route);
    if (problem !== undefined) {
      throw new UsherError('config_invalid', `Route ${route.method} ${route.path} ${problem}.`);
    }
  }
}

function pathProblem(path: string): string | undefined {
  if (!/^\/(?:[A-Za-z0-9._:-]+(?:\/[A-Za-z0-9._:-]+)*)?$/.test(path)) {
    return 'is not a plain path of segments; write it like /v1/things/:thing';
  }
  const names = path.split('/').filter((segment) => segment.includes(':'));
  if (names.some((name) => !/^:[a-z][A-Za-z0-9]*$/.test(name))) return 'has a parameter that is not like :thing';
  if (new Set(names).size < names.length) return 'names a parameter twice; give each its own name';
  return undefined;
}

function policyProblem({ path, policy }: Route): string | undefined {
  const guarded = guardedPrefixes.some((prefix) => path.startsWith(prefix));
  if (policy.access !== 'principal') {
    if (guarded) return `lies under ${guardedPrefixes.join(' or ')}, where every route needs a principal policy`;
    if (policy.why.trim().length < 10) return `is ${policy.access} without saying why; write the reason in its policy`;
    return undefined;
  }
  if (!guarded && !pagePrefixes.some((prefix) => path.startsWith(prefix))) {
    return `needs a principal but lies outside ${[...guardedPrefixes, ...pagePrefixes].join(', ')}; move it there`;
  }
  if (policy.kinds.length === 0) return 'admits no kind of principal; name at least one';
  if (new Set(policy.kinds).size < policy.kinds.length) return 'names a kind of principal twice';
  if (policy.kinds.includes('user') && policy.scope !== 'talk') {
    return `admits users with scope ${policy.scope}; users only ever talk`;
  }
  return undefined;
}
