import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, type Program, type StaticImport } from 'oxc-parser';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** What no check looks into: made by tools, or not ours. */
const outside = new Set(['node_modules', '.git', 'dist', 'coverage', '.usher', '.vitest', 'test-results']);

/** Every file of the project as a path from its root with forward slashes, sorted. */
export function projectFiles(folder: string = root): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !outside.has(entry.name) && !entry.name.endsWith('.tgz'))
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? projectFiles(path) : [relative(root, path).split(sep).join('/')];
    })
    .toSorted();
}

export function readProjectFile(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** One import or re-export of another module. */
export interface ModuleUse {
  readonly from: string;
  readonly to: string;
  /** Nothing of it remains when the program runs. */
  readonly typeOnly: boolean;
}

export interface SourceModule {
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  readonly uses: readonly ModuleUse[];
  readonly exportedNames: readonly string[];
}

/** @throws Error for a file that does not parse: a check must never pass over one. */
export function parseModule(path: string): SourceModule {
  const text = readProjectFile(path);
  const { program, module, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`);
  const uses: ModuleUse[] = module.staticImports.map((found) => ({
    from: path,
    to: found.moduleRequest.value,
    typeOnly: isTypeOnly(text, found),
  }));
  for (const { entries, start } of module.staticExports) {
    const requests = entries.filter((entry) => entry.moduleRequest !== null);
    const [first] = requests;
    if (first?.moduleRequest == null) continue;
    const typeOnly = text.startsWith('export type', start) || requests.every((entry) => entry.isType);
    uses.push({ from: path, to: first.moduleRequest.value, typeOnly });
  }
  for (const { moduleRequest } of module.dynamicImports) {
    const literal = /^['"](.*)['"]$/.exec(text.slice(moduleRequest.start, moduleRequest.end))?.[1];
    if (literal !== undefined) uses.push({ from: path, to: literal, typeOnly: false });
  }
  const exportedNames = module.staticExports.flatMap(({ entries }) =>
    entries.flatMap((entry) => (entry.moduleRequest === null && entry.exportName.name ? [entry.exportName.name] : [])),
  );
  return { path, text, program, uses, exportedNames };
}

function isTypeOnly(text: string, found: StaticImport): boolean {
  return (
    text.startsWith('import type', found.start) ||
    (found.entries.length > 0 && found.entries.every((entry) => entry.isType))
  );
}

interface SyntaxNode {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** Every node of a syntax tree, parents first. */
export function* nodesOf(value: unknown): Generator<SyntaxNode> {
  if (Array.isArray(value)) for (const inner of value) yield* nodesOf(inner);
  else if (typeof value === 'object' && value !== null) {
    if ('type' in value && typeof value.type === 'string') yield value as SyntaxNode;
    for (const inner of Object.values(value)) yield* nodesOf(inner);
  }
}

/** `process.env` for a member expression of plain names, else undefined. */
export function memberPath(node: SyntaxNode): string | undefined {
  if (node.type === 'Identifier') return node['name'] as string;
  if (node.type !== 'MemberExpression') return undefined;
  const object = memberPath(node['object'] as SyntaxNode);
  const property = node['property'] as SyntaxNode;
  const name = node['computed'] === true ? property['value'] : property['name'];
  return object === undefined || typeof name !== 'string' ? undefined : `${object}.${name}`;
}
