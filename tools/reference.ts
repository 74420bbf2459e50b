import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { referencePages } from './reference-pages.ts';
import { root } from './source-tree.ts';

// Writes the reference pages from what the program runs on. `tools/reference.test.ts` holds them fresh.
for (const [path, content] of Object.entries(referencePages())) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}
