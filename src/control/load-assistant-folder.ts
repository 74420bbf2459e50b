import { constants } from 'node:fs';
import { lstat, open, readdir, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { nearestWord, readYaml, type Problem } from '#base';
import type { DocumentReader, ReadProgress } from '#knowledge';
import {
  assistantSchema,
  canonicalFile,
  checkFiles,
  insidePath,
  isIgnored,
  isReleased,
  misnamedEntry,
  releaseDigest,
  releaseLimits,
  tooLarge,
  type AssistantFile,
  type Release,
  type ReleaseFile,
} from '#release';
import { readToolDocuments } from './read-tool-documents.ts';

export type LoadedFolder =
  | { readonly ok: true; readonly release: Release; readonly files: readonly ReleaseFile[] }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface LoadOptions {
  /** Pools that exist; a name beyond them is a problem. Undefined: not checked. */
  readonly pools?: readonly string[];
  /** Embedding models that exist; a name beyond them is a problem. Undefined: not checked. */
  readonly embeddings?: readonly string[];
  /** Tool credentials that exist; a name beyond them is a problem. Undefined: not checked. */
  readonly credentials?: readonly string[];
  /** How far its documents are read. */
  readonly onProgress?: ReadProgress;
  /** The name under which `usher.yaml` declares the folder. */
  readonly expectedName?: string;
}

const specFile = 'assistant.yaml';
const instructionsCharactersMax = 200_000;

/**
 * Reads, checks and digests an assistant folder. Whatever is wrong with it is a problem with file,
 * line and mend; nothing of a folder with problems is served.
 */
export async function loadAssistantFolder(
  documents: DocumentReader,
  folder: string,
  options: LoadOptions = {},
): Promise<LoadedFolder> {
  const shown = shownFolder(folder);
  const refused = (problems: readonly Problem[]): LoadedFolder => ({
    ok: false,
    problems: problems.map((problem) => Object.assign({}, problem, { file: join(shown, problem.file) })),
  });
  const root = await realpath(folder).catch(() => undefined);
  if (root === undefined) return refused([whole('.', 'there is no such folder; make one with: usher init <name>')]);
  const spec = await readSpec(root, options);
  if (!spec.ok) return refused(spec.problems);
  const read = await readFolder(root, spec.value.instructionsFile);
  const { files } = read;
  const problems = [...read.problems, ...checkFiles(files)];
  const instructions = readInstructions(files, spec.value.instructionsFile);
  if (!instructions.ok) problems.push(instructions.problem);
  if (problems.length > 0 || !instructions.ok) return refused(problems);
  const knowledge = await documents.read(files, options.onProgress);
  const { problemAt } = spec;
  const declared = readToolDocuments(spec.value.tools, files, { credentials: options.credentials, problemAt });
  const unfit = [...knowledge.problems, ...declared.problems];
  if (unfit.length > 0) return refused(unfit);
  const release: Release = {
    digest: releaseDigest(files),
    spec: spec.value.spec,
    instructions: instructions.text,
    passages: knowledge.passages,
    ...(declared.tools.length === 0 ? {} : { tools: declared.tools }),
  };
  return { ok: true, release, files };
}

type Spec =
  | {
      readonly ok: true;
      readonly value: AssistantFile;
      readonly problemAt: (path: readonly (string | number)[], message: string) => Problem;
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

async function readSpec(root: string, options: LoadOptions): Promise<Spec> {
  const raw = await readRegularFile(root, specFile);
  if (!raw.ok) {
    const near = (await readdir(root).catch(() => [])).find((name) => misnamedEntry(name) === specFile);
    const hint = near === undefined ? 'make one with: usher init <name>' : `rename ${near} to ${specFile}`;
    return {
      ok: false,
      problems: [raw.missing ? whole(specFile, `the folder has no ${specFile}; ${hint}`) : raw.problem],
    };
  }
  const canonical = canonicalFile(specFile, raw.bytes);
  if (!canonical.ok) return { ok: false, problems: [canonical.problem] };
  const read = readYaml(specFile, Buffer.from(canonical.file.bytes).toString('utf8'), assistantSchema);
  if (!read.ok) return read;
  const { spec, instructionsFile, tools } = read.value;
  const problems: Problem[] = [];
  if (options.expectedName !== undefined && spec.name !== options.expectedName) {
    const message = `"name" must be "${options.expectedName}", as usher.yaml calls this assistant`;
    problems.push(read.problemAt(['name'], message, { expected: options.expectedName }));
  }
  for (const [index, { pool }] of spec.pools.entries()) {
    if (options.pools !== undefined && !options.pools.includes(pool)) {
      problems.push(read.problemAt(['pools', index], ...missingName('pool', pool, options.pools)));
    }
  }
  const { embeddings } = spec.knowledge;
  if (embeddings !== undefined && options.embeddings !== undefined && !options.embeddings.includes(embeddings)) {
    const missing = missingName('embedding model', embeddings, options.embeddings);
    problems.push(read.problemAt(['knowledge', 'embeddings'], ...missing));
  }
  const inside = insidePath(instructionsFile);
  if (!inside.ok) problems.push(read.problemAt(['instructions'], `"instructions" ${inside.message}`));
  if (problems.length > 0 || !inside.ok) return { ok: false, problems };
  return { ok: true, value: { spec, instructionsFile: inside.path, tools }, problemAt: read.problemAt };
}

function missingName(
  what: 'pool' | 'embedding model',
  name: string,
  names: readonly string[],
): [string, { nearest?: string; expected: string }] {
  const nearest = nearestWord(name, names);
  const known = names.join(', ');
  const there =
    known === ''
      ? `declare one under ${what === 'pool' ? 'pools' : 'embeddings'}, or leave this out`
      : `${what}s there: ${known}`;
  const hint = nearest === undefined ? there : `did you mean "${nearest}"?`;
  return [
    `usher.yaml has no ${what} "${name}"; ${hint}`,
    { expected: known, ...(nearest === undefined ? {} : { nearest }) },
  ];
}

function readInstructions(
  files: readonly ReleaseFile[],
  path: string,
): { readonly ok: true; readonly text: string } | { readonly ok: false; readonly problem: Problem } {
  const file = files.find((candidate) => candidate.path === path);
  const refuse = (message: string): { ok: false; problem: Problem } => ({ ok: false, problem: whole(path, message) });
  if (file === undefined)
    return refuse(`the folder has no ${path}; write there who the assistant is and how it answers`);
  const text = Buffer.from(file.bytes).toString('utf8').trim();
  if (text === '') return refuse('the instructions are empty; write who the assistant is and how it answers');
  if (text.length > instructionsCharactersMax) {
    return refuse(
      `the instructions exceed ${instructionsCharactersMax} characters; move what is to be looked up to knowledge/`,
    );
  }
  return { ok: true, text };
}

/** All files that are released, in canonical form, and what is wrong with single ones. */
async function readFolder(
  root: string,
  instructionsFile: string,
): Promise<{ readonly files: readonly ReleaseFile[]; readonly problems: readonly Problem[] }> {
  const files: ReleaseFile[] = [];
  const problems: Problem[] = [];
  let totalBytes = 0;
  for await (const path of walk(root, instructionsFile, problems)) {
    const raw = await readRegularFile(root, path);
    if (!raw.ok) {
      problems.push(raw.problem);
      continue;
    }
    const canonical = canonicalFile(path, raw.bytes);
    if (canonical.ok) files.push(canonical.file);
    else problems.push(canonical.problem);
    totalBytes += raw.bytes.byteLength;
    // What is over a limit is told by `checkFiles`; reading on would only fill the memory.
    if (totalBytes > releaseLimits.totalBytes || files.length > releaseLimits.files) break;
  }
  return { files, problems };
}

async function* walk(root: string, instructionsFile: string, problems: Problem[]): AsyncGenerator<string> {
  const waiting = [''];
  while (waiting.length > 0) {
    const folder = waiting.pop()!;
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (isIgnored(entry.name)) continue;
      if (folder === '' && !isReleased(entry.name.normalize('NFC'), instructionsFile)) {
        const meant = misnamedEntry(entry.name);
        // The instructions may have another name; then the usual one is nobody's typing error.
        if (meant !== undefined && !(await exists(root, meant))) {
          problems.push(whole(entry.name, `did you mean ${meant}? This name is not read`));
        }
      } else if (entry.isDirectory()) {
        if (path.split('/').length >= releaseLimits.depth)
          problems.push(whole(path, 'folders lie too deep here; move it up'));
        else waiting.push(path);
      } else {
        yield path;
      }
    }
  }
}

type RawFile =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly missing: boolean; readonly problem: Problem };

/** A regular file's bytes; a link, a device or a pipe is refused, also when it took the file's place meanwhile. */
async function readRegularFile(root: string, path: string): Promise<RawFile> {
  const refuse = (message: string, missing = false): RawFile => ({ ok: false, missing, problem: whole(path, message) });
  try {
    const seen = await lstat(join(root, path));
    if (seen.isSymbolicLink()) return refuse('symbolic links are not followed; put the file itself here');
    if (!seen.isFile()) return refuse('only regular files make a release; remove it');
    await using handle = await open(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const { size } = await handle.stat();
    if (size > releaseLimits.fileBytes) return refuse(tooLarge(size));
    return { ok: true, bytes: await handle.readFile() };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    return refuse(`the file cannot be read (${code}); check that it is there and may be read`, code === 'ENOENT');
  }
}

async function exists(root: string, name: string): Promise<boolean> {
  return lstat(join(root, name)).then(
    () => true,
    () => false,
  );
}

function whole(file: string, message: string): Problem {
  return { file, line: 0, column: 0, message };
}

/** As a person at the terminal would call it: relative where the folder lies below theirs. */
function shownFolder(folder: string): string {
  const below = relative(process.cwd(), folder);
  return below.startsWith('..') ? folder : below;
}
