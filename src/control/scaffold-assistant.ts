import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsherError } from '#base';
import { assistantJsonSchema, assistantSchema } from '#release';

const template = fileURLToPath(new URL('../../examples/template/', import.meta.url));
const templateName = 'my-assistant';
const schemaFile = 'assistant.schema.json';

/**
 * Makes a new assistant folder at `target` that runs at once, named `name`; answers the files made.
 *
 * @throws UsherError `invalid_request` for a name that an assistant cannot have, `conflict` when the
 * target exists and is not empty
 */
export async function scaffoldAssistant(target: string, name: string): Promise<readonly string[]> {
  const checked = assistantSchema.safeParse({ name });
  if (!checked.success) {
    throw new UsherError(
      'invalid_request',
      `An assistant cannot be called ${JSON.stringify(name.slice(0, 80))}: use lower-case letters, digits and inner hyphens, at most 63.`,
    );
  }
  await refuseNonEmpty(target);
  await mkdir(dirname(target), { recursive: true });
  await cp(template, target, { recursive: true, force: false, errorOnExist: true });
  const files = (await readdir(target, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const file of files) await substitute(file, name);
  await writeFile(join(target, schemaFile), `${JSON.stringify(assistantJsonSchema(), null, 2)}\n`, { flag: 'wx' });
  return [...files, join(target, schemaFile)].toSorted();
}

async function refuseNonEmpty(target: string): Promise<void> {
  const entries = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new UsherError('conflict', `${target} is not a folder. Choose another name.`, { cause: error });
  });
  if (entries.length > 0) {
    throw new UsherError('conflict', `${target} exists and is not empty. Choose another name, or empty it first.`);
  }
}

async function substitute(file: string, name: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  const title = name.replaceAll('-', ' ').replace(/^\p{L}/u, (first) => first.toUpperCase());
  await writeFile(file, text.replaceAll(templateName, name).replaceAll('My assistant', title));
}
