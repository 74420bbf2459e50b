import { UsherError } from '#base';
import type { Route } from './exchange.ts';

/** One segment's worth of the route tree. */
interface Branch {
  readonly fixed: Map<string, Branch>;
  parameter: Branch | undefined;
  readonly routes: Map<string, Planted>;
}

interface Planted {
  readonly route: Route;
  readonly names: readonly string[];
}

export type Match =
  | { readonly found: 'route'; readonly route: Route; readonly params: Readonly<Record<string, string>> }
  | { readonly found: 'path'; readonly allow: readonly string[] }
  | { readonly found: 'nothing' };

export interface Router {
  /** `path` as sent, without the query. @throws UsherError `invalid_request` for a path that has more than one reading. */
  match(method: string, path: string): Match;
}

const noParams: Readonly<Record<string, string>> = Object.freeze({});

/** A tree by segments: a fixed segment wins over a parameter. @throws UsherError `config_invalid` for duplicates */
export function createRouter(routes: readonly Route[]): Router {
  const root = newBranch();
  for (const route of routes) plant(root, route);
  return { match: (method, path) => answer(method, find(root, segmentsOf(path))) };
}

function newBranch(): Branch {
  return { fixed: new Map(), parameter: undefined, routes: new Map() };
}

function plant(root: Branch, route: Route): void {
  let branch = root;
  for (const segment of route.path.split('/').slice(1)) {
    if (segment.startsWith(':')) {
      branch.parameter ??= newBranch();
      branch = branch.parameter;
    } else {
      const next = branch.fixed.get(segment) ?? newBranch();
      branch.fixed.set(segment, next);
      branch = next;
    }
  }
  const twin = branch.routes.get(route.method);
  if (twin) {
    throw new UsherError(
      'config_invalid',
      `${route.method} ${route.path} is registered twice (also as ${twin.route.path}).`,
    );
  }
  const names = route.path.split('/').filter((segment) => segment.startsWith(':'));
  branch.routes.set(route.method, { route, names: names.map((name) => name.slice(1)) });
}

/** Depth first with fixed segments ahead; the tree is a handful of levels, so going back costs nothing. */
function find(
  root: Branch,
  segments: readonly string[],
): { readonly branch: Branch; readonly values: string[] } | undefined {
  const values: string[] = [];
  const descend = (branch: Branch, index: number): Branch | undefined => {
    const segment = segments[index];
    if (segment === undefined) return branch.routes.size > 0 ? branch : undefined;
    const fixed = branch.fixed.get(segment);
    const viaFixed = fixed && descend(fixed, index + 1);
    if (viaFixed || !branch.parameter || segment === '') return viaFixed;
    values.push(segment);
    const viaParameter = descend(branch.parameter, index + 1);
    if (!viaParameter) values.pop();
    return viaParameter;
  };
  const branch = descend(root, 0);
  return branch && { branch, values };
}

function answer(method: string, found: ReturnType<typeof find>): Match {
  if (!found) return { found: 'nothing' };
  const planted = found.branch.routes.get(method === 'HEAD' ? 'GET' : method);
  if (!planted) return { found: 'path', allow: methodsOf(found.branch) };
  const { route, names } = planted;
  return { found: 'route', route, params: names.length === 0 ? noParams : paired(names, found.values) };
}

function methodsOf(branch: Branch): string[] {
  const methods: string[] = [...branch.routes.keys(), 'OPTIONS'];
  if (branch.routes.has('GET')) methods.push('HEAD');
  return methods.sort();
}

function paired(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']));
}

/**
 * Decoded segments. What a proxy before us could read otherwise than we do is refused rather than
 * put right: doubled slashes, dot segments, slashes and NUL inside a segment.
 */
function segmentsOf(path: string): string[] {
  const segments = path.slice(1).split('/');
  for (const [index, raw] of segments.entries()) {
    const segment = raw.includes('%') ? decoded(raw) : raw;
    if (segment === '' && index < segments.length - 1) throw refused('holds an empty segment');
    if (segment === '.' || segment === '..') throw refused('holds a dot segment');
    if (/[/\\\0]/.test(segment)) throw refused('holds an encoded slash, backslash or NUL');
    segments[index] = segment;
  }
  return segments;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw refused('is not valid percent-encoded UTF-8');
  }
}

function refused(why: string): UsherError {
  return new UsherError('invalid_request', `The path ${why}; send it in its plain form.`);
}
