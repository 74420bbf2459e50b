import { existsSync, globSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Copies the documentation into the knowledge of the example assistant `guide`:
 *
 *     node tools/guide-knowledge.ts
 */
const root = fileURLToPath(new URL('../', import.meta.url));
const target = join(root, 'examples/assistants/guide/knowledge');
const documents = ['README.md', 'ARCHITECTURE.md', 'SECURITY.md', 'docs/guide/*.md', 'docs/reference/*.md'];

/** Documentation files and their places in the knowledge: `docs/guide/x.md` is `guide/x.md` there. */
function copies(): { readonly from: string; readonly to: string }[] {
  return globSync(documents, { cwd: root })
    .map((path) => path.replaceAll('\\', '/'))
    .toSorted()
    .map((path) => ({ from: join(root, path), to: join(target, path.replace(/^docs\//u, '')) }));
}

/** What differs between the documentation and the copy, as paths below the knowledge folder. */
export async function staleKnowledge(): Promise<readonly string[]> {
  const expected = copies();
  const known = new Set(expected.map(({ to }) => to));
  const present = existsSync(target) ? await readdir(target, { recursive: true, withFileTypes: true }) : [];
  const left = present
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !known.has(path));
  const changed: string[] = [];
  for (const { from, to } of expected) {
    const copy = await readFile(to, 'utf8').catch(() => undefined);
    if (copy !== (await readFile(from, 'utf8'))) changed.push(to);
  }
  return [...left, ...changed].map((path) => path.slice(target.length + 1)).toSorted();
}

export async function refreshKnowledge(): Promise<void> {
  await rm(target, { recursive: true, force: true });
  for (const { from, to } of copies()) {
    await mkdir(dirname(to), { recursive: true });
    await cp(from, to);
  }
}

if (import.meta.main) await refreshKnowledge();
