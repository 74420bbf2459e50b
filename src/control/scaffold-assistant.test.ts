import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DocumentReader } from '#knowledge';
import { loadAssistantFolder } from './load-assistant-folder.ts';
import { scaffoldAssistant } from './scaffold-assistant.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-scaffold-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

test('a new assistant runs at once under its own name, with a schema beside it for editors', async () => {
  const target = join(folder, 'below/help-desk');
  const files = await scaffoldAssistant(target, 'help-desk');
  expect(files.map((file) => relative(target, file))).toEqual([
    'assistant.schema.json',
    'assistant.yaml',
    'instructions.md',
    'knowledge/about.md',
  ]);
  await using documents = new DocumentReader();
  const loaded = await loadAssistantFolder(documents, target, { expectedName: 'help-desk', pools: ['default'] });
  expect(loaded).toMatchObject({ ok: true, release: { spec: { name: 'help-desk', title: 'Help desk' } } });
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  expect(texts.join('')).not.toMatch(/my-assistant|My assistant/u);
  expect(texts[1]).toMatch(/^# yaml-language-server: \$schema=\.\/assistant\.schema\.json$/mu);
});

test('an empty folder is filled, one with anything in it is left as it is', async () => {
  await mkdir(join(folder, 'empty'));
  await scaffoldAssistant(join(folder, 'empty'), 'guide');
  await mkdir(join(folder, 'full'));
  await writeFile(join(folder, 'full/notes.txt'), 'mine');
  await expect(scaffoldAssistant(join(folder, 'full'), 'guide')).rejects.toMatchObject({ code: 'conflict' });
  await expect(scaffoldAssistant(join(folder, 'full/notes.txt'), 'guide')).rejects.toMatchObject({ code: 'conflict' });
});

test.each(['Guide', 'a b', '', '../x', 'a'.repeat(64)])(
  'a name that no assistant can have is refused: %j',
  async (name) => {
    await expect(scaffoldAssistant(join(folder, 'x'), name)).rejects.toMatchObject({ code: 'invalid_request' });
  },
);
