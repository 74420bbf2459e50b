/** Schemas that a check may come to by following references; each may name others several times over. */
const visitsMax = 2000;

/**
 * Whether following a schema's references has an end that can be waited for: two references to a
 * schema that has two to the next double the work with each, from a schema of a few lines. One that
 * refers to itself is followed once; a check of it ends with the value that it checks.
 */
export function hasBoundedReferences(schema: object): boolean {
  const root = schema as Readonly<Record<string, unknown>>;
  const following = new Set<string>();
  let visits = 0;
  const visit = (node: unknown): boolean => {
    if (typeof node !== 'object' || node === null) return true;
    visits += 1;
    if (visits > visitsMax) return false;
    return Object.entries(node).every(([key, inner]: [string, unknown]) => {
      if (key === '$defs' || key === 'definitions') return true;
      return key === '$ref' && typeof inner === 'string' ? follow(inner) : visit(inner);
    });
  };
  const follow = (reference: string): boolean => {
    if (following.has(reference)) return true;
    following.add(reference);
    const holds = visit(targetOf(root, reference));
    following.delete(reference);
    return holds;
  };
  return visit(root);
}

/** What a reference within the schema leads to (RFC 6901); undefined for any other. */
function targetOf(root: Readonly<Record<string, unknown>>, reference: string): unknown {
  if (reference !== '#' && !reference.startsWith('#/')) return undefined;
  let target: unknown = root;
  for (const step of reference
    .slice(2)
    .split('/')
    .filter((part) => part !== '')) {
    const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    target = (target as Readonly<Record<string, unknown>> | null | undefined)?.[name];
  }
  return target;
}
