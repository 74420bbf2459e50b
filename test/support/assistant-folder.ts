import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

export interface AssistantFolder extends AsyncDisposable {
  readonly path: string;
  /** Writes or replaces files, by path below the folder. */
  write(files: Readonly<Record<string, string>>): Promise<void>;
}

/** A temporary assistant folder with these files; `assistant.yaml` and instructions where they give none. */
export async function assistantFolder(
  name: string,
  files: Readonly<Record<string, string>> = {},
): Promise<AssistantFolder> {
  const path = await mkdtemp(join(tmpdir(), 'usher-assistant-'));
  const write = async (all: Readonly<Record<string, string>>): Promise<void> => {
    for (const [file, text] of Object.entries(all)) {
      await mkdir(dirname(join(path, file)), { recursive: true });
      await writeFile(join(path, file), text);
    }
  };
  await write({ 'assistant.yaml': `name: ${name}\n`, 'instructions.md': `You are ${name}.\n`, ...files });
  return { path, write, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** `usher.yaml` for one assistant that one OpenAI-compatible server answers. */
export function configFor(folder: AssistantFolder, name: string, backendUrl: string, more = ''): string {
  return `backends:
  - { name: sim, kind: openai-compatible, url: '${backendUrl}', model: sim }
pools:
  - { name: default, backends: [sim] }
tenants:
  - assistants: [{ name: ${name}, folder: '${folder.path}' }]
${more}`;
}
