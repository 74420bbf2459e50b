import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsherError } from '#base';
import { assistantJsonSchema, assistantSchema, isIgnored } from '#release';

const template = fileURLToPath(new URL('../../examples/template/', import.meta.url));
const templateName = 'my-assistant';
const templateTitle = 'My assistant';
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
  const title = name.replaceAll('-', ' ').replace(/^\p{L}/u, (first) => first.toUpperCase());
  const made: string[] = [];
  const write = async (path: string, content: string): Promise<void> => {
    await mkdir(dirname(join(target, path)), { recursive: true });
    await writeFile(join(target, path), content, { flag: 'wx' });
    made.push(join(target, path));
  };
  for (const path of await templateFiles()) {
    const content = await readFile(join(template, path), 'utf8');
    await write(path, content.replaceAll(templateName, name).replaceAll(templateTitle, title));
  }
  await write(schemaFile, `${JSON.stringify(assistantJsonSchema(), null, 2)}\n`);
  return made.toSorted();
}

async function templateFiles(): Promise<readonly string[]> {
  const entries = await readdir(template, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(template, join(entry.parentPath, entry.name)))
    .filter((path) => !path.split(sep).some((step) => isIgnored(step)));
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
