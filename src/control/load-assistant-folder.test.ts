import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { DocumentReader } from '#knowledge';
import { loadAssistantFolder, type LoadOptions } from './load-assistant-folder.ts';

const documents = new DocumentReader();
afterAll(() => documents[Symbol.asyncDispose]());

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-folder-'));
  await put('assistant.yaml', 'name: guide\n');
  await put('instructions.md', 'Be kind.\n');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function put(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content);
}

/** Messages with their files, relative to the folder. */
async function problems(options?: LoadOptions): Promise<string[]> {
  const loaded = await loadAssistantFolder(documents, folder, options);
  if (loaded.ok) return [];
  return loaded.problems.map(({ file, line, message }) => `${file.slice(folder.length + 1)}:${line} ${message}`);
}

async function digest(): Promise<string> {
  const loaded = await loadAssistantFolder(documents, folder);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.release.digest;
}

test('a folder becomes a release with its instructions and passages', async () => {
  await put('knowledge/prices/list.md', '# Prices\n\nA ticket costs nine euros.\n');
  const loaded = await loadAssistantFolder(documents, folder);
  expect(loaded).toMatchObject({
    ok: true,
    release: {
      spec: { name: 'guide' },
      instructions: 'Be kind.',
      passages: [{ source: 'prices/list.md', title: 'Prices', text: 'A ticket costs nine euros.' }],
    },
  });
});

test('backups, hidden files, tests and documents about the folder leave the digest alone', async () => {
  const before = await digest();
  await put('knowledge/.DS_Store', 'x');
  await put('knowledge/a.md~', 'x');
  await put('tests/first.yaml', 'x');
  await put('README.md', 'x');
  await put('.usher/usher.db', 'x');
  await put('node_modules/a/index.js', 'x');
  expect(await digest()).toBe(before);
  await put('tools/later.yaml', 'x');
  expect(await digest()).not.toBe(before);
});

test('line ends and a byte order mark, as other systems write them, leave the digest alone', async () => {
  const before = await digest();
  await put('instructions.md', '\u{feff}Be kind.\r\n');
  await put('assistant.yaml', 'name: guide\r\n');
  expect(await digest()).toBe(before);
});

test('instructions may have another name and place; nothing outside the folder is read', async () => {
  await put('assistant.yaml', 'name: guide\ninstructions: prompts/main.md\n');
  await put('prompts/main.md', 'Be brief.');
  expect(await loadAssistantFolder(documents, folder)).toMatchObject({
    ok: true,
    release: { instructions: 'Be brief.' },
  });
  await put('assistant.yaml', 'name: guide\ninstructions: ../../etc/passwd\n');
  expect(await problems()).toEqual([
    'assistant.yaml:2 "instructions" must be a path inside the folder, with forward slashes',
  ]);
});

test('an embedding model that usher.yaml has not is a problem with the nearest name, or with those there are', async () => {
  await put('assistant.yaml', 'name: guide\nknowledge:\n  embeddings: text-smal\n');
  expect(await problems({ embeddings: ['text-small', 'other'] })).toEqual([
    'assistant.yaml:3 usher.yaml has no embedding model "text-smal"; did you mean "text-small"?',
  ]);
  expect(await problems({ embeddings: ['other'] })).toEqual([
    'assistant.yaml:3 usher.yaml has no embedding model "text-smal"; embedding models there: other',
  ]);
  expect(await problems({ embeddings: [] })).toEqual([
    'assistant.yaml:3 usher.yaml has no embedding model "text-smal"; declare one under embeddings, or leave this out',
  ]);
  const loaded = await loadAssistantFolder(documents, folder, { embeddings: ['text-smal'] });
  expect(loaded).toMatchObject({ ok: true, release: { spec: { knowledge: { embeddings: 'text-smal' } } } });
});

test('symbolic links are refused, as files and as folders', async () => {
  await mkdir(join(folder, 'knowledge'));
  await symlink('/etc/hostname', join(folder, 'knowledge/a.md'));
  await symlink('/etc', join(folder, 'knowledge/b'));
  const told = 'symbolic links are not followed; put the file itself here';
  expect((await problems()).toSorted()).toEqual([`knowledge/a.md:0 ${told}`, `knowledge/b:0 ${told}`]);
  await rm(join(folder, 'assistant.yaml'));
  await symlink('/etc/hostname', join(folder, 'assistant.yaml'));
  expect(await problems()).toEqual([`assistant.yaml:0 ${told}`]);
});

test.each([
  [
    'a missing folder',
    () => rm(folder, { recursive: true }),
    'there is no such folder; make one with: usher init <name>',
  ],
  [
    'a missing assistant.yaml',
    () => rm(join(folder, 'assistant.yaml')),
    'the folder has no assistant.yaml; make one with',
  ],
  [
    'an assistant.yml',
    async () => {
      await rm(join(folder, 'assistant.yaml'));
      await put('assistant.yml', 'name: guide');
    },
    'rename assistant.yml to assistant.yaml',
  ],
  ['missing instructions', () => rm(join(folder, 'instructions.md')), 'the folder has no instructions.md; write there'],
  ['empty instructions', () => put('instructions.md', ' \n'), 'the instructions are empty'],
  ['endless instructions', () => put('instructions.md', 'a'.repeat(200_001)), 'exceed 200000 characters'],
  ['a misnamed folder', () => put('knowlege/a.md', 'x'), 'did you mean knowledge? This name is not read'],
  ['a kind that is not read', () => put('knowledge/a.docx', 'x'), 'only markdown, text, HTML and PDF'],
  ['a broken PDF', () => put('knowledge/a.pdf', 'x'), 'not a PDF that can be read'],
  ['a text in another encoding', () => put('knowledge/a.md', Buffer.from([0xff, 0xfe, 0x41, 0])), 'not UTF-8'],
  [
    'a mistyped key',
    () => put('assistant.yaml', 'name: guide\nlimit: {}'),
    'unknown key "limit"; did you mean "limits"?',
  ],
])('%s is told with the mend', async (_title, damage, told) => {
  await damage();
  expect((await problems()).join('\n')).toContain(told);
});

test('a pool or a name that usher.yaml does not know is told at its place', async () => {
  await put('assistant.yaml', 'name: guide\npools:\n  - main\n  - bakcup\n');
  expect(await problems({ pools: ['main', 'backup'] })).toEqual([
    'assistant.yaml:4 usher.yaml has no pool "bakcup"; did you mean "backup"?',
  ]);
  expect(await problems({ expectedName: 'helper' })).toEqual([
    'assistant.yaml:1 "name" must be "helper", as usher.yaml calls this assistant',
  ]);
});

const pets = `openapi: 3.1.0
servers: [{ url: https://pets.example.com }]
paths:
  /pets: { get: { operationId: listPets } }
`;

function petsTool(more = ''): string {
  return `name: guide\ntools:\n  - kind: openapi\n    label: pets\n    document: tools/pets.yaml\n    operations: [listPets]\n${more}`;
}

test('tools are part of the release with the documents they come from; a release without has none', async () => {
  const without = await loadAssistantFolder(documents, folder);
  expect(without.ok && 'tools' in without.release).toBe(false);
  await put('assistant.yaml', petsTool());
  await put('tools/pets.yaml', pets);
  const first = await digest();
  expect(await loadAssistantFolder(documents, folder)).toMatchObject({
    ok: true,
    release: { tools: [{ name: 'pets_listPets' }] },
  });
  await put('tools/pets.yaml', `${pets}# changed\n`);
  expect(await digest()).not.toBe(first);
});

test('a document that is missing, elsewhere or no document is told where it is named', async () => {
  await put('assistant.yaml', petsTool());
  expect(await problems()).toEqual([
    'assistant.yaml:5 "document" names tools/pets.yaml, which the folder does not have; put the file there',
  ]);
  await put('tools/pets.yaml', 'paths: [');
  expect((await problems()).join()).toContain('tools/pets.yaml:1 not valid YAML');
  await put('tools/pets.yaml', 'swagger: 2.0');
  expect((await problems()).join()).toContain(
    'assistant.yaml:5 "document" is not an OpenAPI document of version 3.0 or 3.1',
  );
  for (const path of ['../pets.yaml', 'knowledge/pets.yaml']) {
    await put('assistant.yaml', petsTool().replace('tools/pets.yaml', path));
    expect((await problems()).join()).toMatch(/assistant.yaml:5 "document" must/);
  }
});

test('a credential that the tenant does not have is told with the nearest', async () => {
  await put('assistant.yaml', petsTool('    authorisation: service\n    credential: petz\n'));
  await put('tools/pets.yaml', pets);
  expect((await problems({ credentials: ['pets', 'crm'] })).join()).toContain(
    'has no credential "petz" for this tenant; did you mean "pets"?',
  );
  expect(await problems({ credentials: ['petz'] })).toEqual([]);
});
