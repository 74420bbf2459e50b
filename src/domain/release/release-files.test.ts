import { expect, test } from 'vitest';
import {
  canonicalFile,
  checkFiles,
  insidePath,
  isIgnored,
  misnamedEntry,
  releaseDigest,
  releaseLimits,
} from './release-files.ts';

function canonical(path: string, content: string | Uint8Array) {
  const made = canonicalFile(path, Buffer.from(content));
  if (!made.ok) throw new Error(made.problem.message);
  return made.file;
}

test('the digest is what sha256sum makes of the files', () => {
  // Made with coreutils:
  //   mkdir knowledge; printf 'name: guide\n' > assistant.yaml; printf 'Be kind.\n' > instructions.md
  //   printf '# \303\234ber\n' > knowledge/a.md; printf 'b' > knowledge/b.txt
  //   find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum
  const files = [
    canonical('knowledge/b.txt', 'b'),
    canonical('assistant.yaml', 'name: guide\n'),
    canonical('knowledge/a.md', '# Über\n'),
    canonical('instructions.md', 'Be kind.\n'),
  ];
  expect(releaseDigest(files)).toBe('sha256:bde7ddfe185e4af4464b7769c3672cd1318746c48c210c8d46e31ee4299eecba');
});

test('paths are sorted by their bytes, not by the order of a locale or of UTF-16', () => {
  // U+FF5E sorts before U+1F600 by bytes and after it by UTF-16 code units.
  const files = [
    canonical('knowledge/\u{1f600}.md', 'x'),
    canonical('knowledge/\u{ff5e}.md', 'y'),
    canonical('knowledge/Z.md', 'z'),
  ];
  expect(releaseDigest(files)).toBe('sha256:b39d4e6ffec256f4053038a7a133293d941a3b828ff03e8fbc95add23a8fe8fd');
});

test('a text that is not UTF-8 is refused with the mend', () => {
  expect(canonicalFile('knowledge/a.md', Buffer.from([0x66, 0xfc, 0x72]))).toMatchObject({
    ok: false,
    problem: { file: 'knowledge/a.md', message: 'the text is not UTF-8; save it as UTF-8' },
  });
});

test('bytes of a PDF stay as they are', () => {
  const bytes = Buffer.from('%PDF-1.7\r\n\u{feff}\r\n');
  expect(canonicalFile('knowledge/a.pdf', bytes)).toMatchObject({ ok: true, file: { bytes } });
});

test('a file, a count and a sum over the caps are told with the cap', () => {
  const large = canonicalFile('knowledge/a.md', new Uint8Array(releaseLimits.fileBytes + 1));
  expect(large.ok ? '' : large.problem.message).toContain('more than the 16 MiB');
  const many = Array.from({ length: releaseLimits.files + 1 }, (_, at) => ({
    path: `knowledge/${at}.md`,
    bytes: new Uint8Array(),
  }));
  expect(checkFiles(many)[0]?.message).toContain('more than the 2000');
  const bytes = new Uint8Array(releaseLimits.fileBytes);
  const heavy = Array.from({ length: 5 }, (_, at) => ({ path: `knowledge/${at}.pdf`, bytes }));
  expect(checkFiles(heavy)[0]?.message).toContain('exceed the 64 MiB');
});

test('names that are one file on some systems are refused', () => {
  const files = ['knowledge/Price.md', 'knowledge/price.md'].map((path) => ({ path, bytes: new Uint8Array() }));
  expect(checkFiles(files)[0]?.message).toContain('one file on some systems');
  // One name in two Unicode forms.
  const forms = ['knowledge/\u{fc}.md', 'knowledge/u\u{308}.md'].map((path) => canonical(path, ''));
  expect(checkFiles(forms)).toHaveLength(1);
});

test.each([
  '../../etc/passwd',
  '/etc/passwd',
  'a/../../b.md',
  String.raw`..\b.md`,
  'C:/b.md',
  '.env',
  'knowledge/.git/config',
  '',
  'a//b',
  'a\0b',
  './../b',
])('instructions may not leave the folder or name what is not released: %j', (path) => {
  expect(insidePath(path).ok).toBe(false);
});

test.each([
  ['instructions.md', 'instructions.md'],
  ['./prompts/main.md', 'prompts/main.md'],
  ['u\u{308}.md', '\u{fc}.md'],
])('instructions may stand below the folder: %j', (path, inside) => {
  expect(insidePath(path)).toEqual({ ok: true, path: inside });
});

test('what editors and systems leave behind is ignored, documents are not', () => {
  const left = ['.git', '.DS_Store', 'a.md~', '.a.md.swp', '#a.md#', 'a.bak', 'node_modules', 'Thumbs.db'];
  expect(left.filter((name) => !isIgnored(name))).toEqual([]);
  expect(['a.md', 'tmp.md', 'a~b.txt', 'back.up.pdf'].filter((name) => isIgnored(name))).toEqual([]);
});

test('a name that almost means something is noticed', () => {
  expect(misnamedEntry('knowlege')).toBe('knowledge');
  expect(misnamedEntry('assistant.yml')).toBe('assistant.yaml');
  expect(misnamedEntry('README.md')).toBeUndefined();
  expect(misnamedEntry('usher.yaml')).toBeUndefined();
});
