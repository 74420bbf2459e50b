import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { assistantJsonSchema } from '#release';

/**
 * Writes the JSON Schema of `assistant.yaml` that editors read:
 *
 *     node tools/assistant-schema.ts
 */
const target = fileURLToPath(new URL('../docs/reference/assistant.schema.json', import.meta.url));

function generated(): string {
  return `${JSON.stringify(assistantJsonSchema(), null, 2)}\n`;
}

export async function isSchemaStale(): Promise<boolean> {
  return (await readFile(target, 'utf8').catch(() => undefined)) !== generated();
}

export async function refreshSchema(): Promise<void> {
  await writeFile(target, generated());
}

if (import.meta.main) await refreshSchema();
