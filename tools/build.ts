import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { root } from './source-tree.ts';

/**
 * Makes `dist`: what is published has to be JavaScript, since Node strips no types below
 * `node_modules`. TypeScript compiles the source; whatever else lies in it (pages, styles) is copied.
 */
const from = join(root, 'src');
const to = join(root, 'dist');
rmSync(to, { recursive: true, force: true });

const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin', 'tsc');
const compiled = spawnSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json')], { stdio: 'inherit' });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);

for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || entry.name.endsWith('.ts')) continue;
  const path = join(entry.parentPath, entry.name);
  cpSync(path, join(to, path.slice(from.length + 1)), { recursive: true });
}
