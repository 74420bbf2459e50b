import { createHash } from 'node:crypto';
import { nearestWord, type Problem } from '#base';
import type { ReleaseDigest } from './spec.ts';

/** A file of an assistant folder. */
export interface ReleaseFile {
  /** Below the folder, with forward slashes, NFC. */
  readonly path: string;
  /** In canonical form: of a text file, without byte order mark and with `\n` at line ends. */
  readonly bytes: Uint8Array;
}

export const releaseLimits = {
  fileBytes: 16 * 1024 * 1024,
  totalBytes: 64 * 1024 * 1024,
  files: 2000,
  depth: 16,
} as const;

const textExtensions = new Set(
  'md markdown txt text html htm yaml yml json jsonl csv tsv xml js mjs cjs ts mts py sh sql'.split(' '),
);
const ignoredNames = new Set(['node_modules', '__MACOSX', 'Thumbs.db', 'desktop.ini', '4913']);
const ignoredPattern = /^\.|~$|^#.*#$|\.(?:swp|swo|swx|bak|orig|tmp|rej)$/iu;

/** What editors, systems and package managers leave behind: never part of a release. */
export function isIgnored(entryName: string): boolean {
  return ignoredNames.has(entryName) || ignoredPattern.test(entryName);
}

/** Whether an entry at the top of the folder is released; `tests/` and others are not what is served. */
export function isReleased(topName: string, instructionsFile: string): boolean {
  const [instructionsTop] = instructionsFile.split('/');
  return topName === 'assistant.yaml' || topName === 'knowledge' || topName === 'tools' || topName === instructionsTop;
}

/** A top entry whose name is almost one that means something: `knowlege/`, `assistant.yml`. */
export function misnamedEntry(topName: string): string | undefined {
  const known = ['assistant.yaml', 'knowledge', 'instructions.md', 'tools', 'tests'];
  const word = topName.replace(/\.yml$/u, '.yaml');
  if (known.includes(topName)) return undefined;
  return nearestWord(word, known);
}

/** The file in canonical form, or what keeps it from being the same on every machine. */
export function canonicalFile(
  path: string,
  raw: Uint8Array,
): { readonly ok: true; readonly file: ReleaseFile } | { readonly ok: false; readonly problem: Problem } {
  const canonicalPath = path.normalize('NFC');
  const refuse = (message: string): { ok: false; problem: Problem } => ({
    ok: false,
    problem: { file: canonicalPath, line: 0, column: 0, message },
  });
  if (/[\\\p{Cc}\p{Cs}]/u.test(canonicalPath))
    return refuse('the name holds a backslash or a control character; rename it');
  if (raw.byteLength > releaseLimits.fileBytes) return refuse(tooLarge(raw.byteLength));
  if (!isText(canonicalPath)) return { ok: true, file: { path: canonicalPath, bytes: raw } };
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(raw);
    return { ok: true, file: { path: canonicalPath, bytes: Buffer.from(text.replaceAll('\r\n', '\n')) } };
  } catch {
    return refuse('the text is not UTF-8; save it as UTF-8');
  }
}

export function tooLarge(bytes: number): string {
  const mebibytes = (size: number): string => `${Math.ceil((size * 10) / 1_048_576) / 10} MiB`;
  return `the file has ${mebibytes(bytes)}, more than the ${mebibytes(releaseLimits.fileBytes)} that a release takes; split it or leave it out`;
}

function isText(path: string): boolean {
  return textExtensions.has(path.slice(path.lastIndexOf('.') + 1).toLowerCase());
}

/** What is wrong with the files as a set: too many, too large together, or one name twice on some systems. */
export function checkFiles(files: readonly ReleaseFile[]): readonly Problem[] {
  const whole = (message: string): Problem => ({ file: '.', line: 0, column: 0, message });
  const problems: Problem[] = [];
  if (files.length > releaseLimits.files) {
    problems.push(
      whole(`the folder holds ${files.length} files, more than the ${releaseLimits.files} that a release takes`),
    );
  }
  const total = files.reduce((sum, file) => sum + file.bytes.byteLength, 0);
  if (total > releaseLimits.totalBytes) {
    problems.push(
      whole(`the files together exceed the ${releaseLimits.totalBytes / 1_048_576} MiB that a release takes`),
    );
  }
  const seen = new Map<string, string>();
  for (const { path } of files) {
    const folded = path.toLowerCase();
    const twin = seen.get(folded);
    if (twin !== undefined) {
      const message = `"${twin}" and "${path}" are one file on some systems; rename one`;
      problems.push({ file: path, line: 0, column: 0, message });
    }
    seen.set(folded, path);
  }
  return problems;
}

/**
 * The digest that names a release, the same on every machine: SHA-256 over one line per file,
 * `<sha256 of its bytes, hex>  <path>\n`, sorted by the bytes of the path. For files that are
 * already canonical that is what `sha256sum` prints, so anyone can check it:
 *
 *     cd guide && find assistant.yaml instructions.md knowledge tools -type f | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum
 */
export function releaseDigest(files: readonly ReleaseFile[]): ReleaseDigest {
  const sorted = files.toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  const manifest = createHash('sha256');
  for (const file of sorted) {
    manifest.update(`${createHash('sha256').update(file.bytes).digest('hex')}  ${file.path}\n`);
  }
  return `sha256:${manifest.digest('hex')}` as ReleaseDigest;
}

/**
 * A path as `assistant.yaml` may name it, below the folder; or the sentence that says why not.
 * `..`, absolute paths and ignored names never reach the file system.
 */
export function insidePath(
  path: string,
): { readonly ok: true; readonly path: string } | { readonly ok: false; readonly message: string } {
  const normal = path.normalize('NFC').replace(/^(?:\.\/)+/u, '');
  const steps = normal.split('/');
  if (/^\/|^[a-z]:|\\|\p{Cc}/iu.test(normal) || steps.includes('..')) {
    return { ok: false, message: 'must be a path inside the folder, with forward slashes' };
  }
  if (steps.some((step) => step === '' || step === '.' || isIgnored(step))) {
    return {
      ok: false,
      message: 'must be a file that is released; names that begin with a dot and editor backups are not',
    };
  }
  return { ok: true, path: normal };
}
