import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalFile, releaseDigest, type ReleaseFile } from './release-files.ts';

const segment = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 8 })
  .filter((text) => !/[/\\\p{Cc}\p{Cs}]/u.test(text) && text !== '.' && text !== '..');
const lines = fc.array(
  fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => text.replaceAll(/[\r\n\u{feff}]/gu, '')),
  {
    maxLength: 6,
  },
);
const folder = fc.uniqueArray(fc.tuple(segment, lines), {
  selector: ([name]) => name.normalize('NFC'),
  minLength: 1,
  maxLength: 8,
});

function filesOf(
  entries: readonly (readonly [string, readonly string[]])[],
  lineEnd: string,
  mark: string,
): ReleaseFile[] {
  return entries.flatMap(([name, content]) => {
    const made = canonicalFile(`knowledge/${name}.md`, Buffer.from(`${mark}${content.join(lineEnd)}`));
    return made.ok ? [made.file] : [];
  });
}

test('the digest knows neither the order of files nor line ends, byte order marks and Unicode forms of names', () => {
  fc.assert(
    fc.property(folder, fc.infiniteStream(fc.nat()), (entries, order) => {
      const shuffled = entries.toSorted(() => (order.next().value! % 2 === 0 ? 1 : -1));
      const decomposed = shuffled.map(([name, content]) => [name.normalize('NFD'), content] as const);
      expect(releaseDigest(filesOf(decomposed, '\r\n', '\u{feff}'))).toBe(releaseDigest(filesOf(entries, '\n', '')));
    }),
    { verbose: 1 },
  );
});

test('another byte, another name or another file is another digest', () => {
  fc.assert(
    fc.property(folder, fc.nat(), (entries, pick) => {
      const files = filesOf(entries, '\n', '');
      const at = pick % files.length;
      const file = files[at]!;
      const digest = releaseDigest(files);
      expect(releaseDigest(files.with(at, { ...file, bytes: Buffer.concat([file.bytes, Buffer.from('x')]) }))).not.toBe(
        digest,
      );
      expect(releaseDigest(files.with(at, { ...file, path: `${file.path}x` }))).not.toBe(digest);
      expect(releaseDigest(files.toSpliced(at, 1))).not.toBe(digest);
    }),
    { verbose: 1 },
  );
});

test('bytes cannot be moved between a file and its name without a change of the digest', () => {
  const digestOf = (path: string, content: string) => releaseDigest([{ path, bytes: Buffer.from(content) }]);
  expect(digestOf('ab', 'c')).not.toBe(digestOf('a', 'bc'));
});
