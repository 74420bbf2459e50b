import { z } from 'zod';
import { nearestWord, readYaml, type Problem } from '#base';
import { insidePath, readTools, type ReleaseFile, type ReleaseTool, type ToolFile } from '#release';

export interface ReadToolsOptions {
  /** Credentials that exist for this tenant; a name beyond them is a problem. Undefined: not checked. */
  readonly credentials: readonly string[] | undefined;
  /** A problem at a place of `assistant.yaml`. */
  readonly problemAt: (path: readonly (string | number)[], message: string) => Problem;
}

const documentBytesMax = 4 * 1024 * 1024;

/** The tools that `assistant.yaml` declares, with the OpenAPI documents they come from. */
export function readToolDocuments(
  declared: readonly ToolFile[],
  files: readonly ReleaseFile[],
  { credentials, problemAt }: ReadToolsOptions,
): { readonly tools: readonly ReleaseTool[]; readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  for (const [index, { credential }] of declared.entries()) {
    if (credential === undefined || credentials === undefined || credentials.includes(credential)) continue;
    const nearest = nearestWord(credential, credentials);
    const hint = nearest === undefined ? 'declare it under tools.credentials' : `did you mean "${nearest}"?`;
    problems.push(
      problemAt(
        ['tools', index, 'credential'],
        `usher.yaml has no credential "${credential}" for this tenant; ${hint}`,
      ),
    );
  }
  const documents = new Map<string, unknown>();
  for (const [index, tool] of declared.entries()) {
    if (tool.kind !== 'openapi') continue;
    const place = (message: string): Problem => problemAt(['tools', index, 'document'], `"document" ${message}`);
    const read = readDocument(tool.document, files, place);
    if (read.ok) documents.set(tool.document, read.value);
    else problems.push(...read.problems);
  }
  const { tools, problems: found } = readTools(declared, (path) => documents.get(path));
  problems.push(...found.map(({ path, message }) => problemAt(['tools', ...path], message)));
  return { tools, problems };
}

type ReadDocument =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problems: readonly Problem[] };

function readDocument(named: string, files: readonly ReleaseFile[], place: (message: string) => Problem): ReadDocument {
  const refuse = (message: string): ReadDocument => ({ ok: false, problems: [place(message)] });
  const inside = insidePath(named);
  if (!inside.ok) return refuse(inside.message);
  if (!inside.path.startsWith('tools/')) return refuse('must lie below tools/, so that it is part of the release');
  const file = files.find(({ path }) => path === inside.path);
  if (file === undefined) return refuse(`names ${inside.path}, which the folder does not have; put the file there`);
  if (file.bytes.byteLength > documentBytesMax)
    return refuse('is larger than 4 MiB; keep the operations that are used');
  const text = Buffer.from(file.bytes)
    .toString('utf8')
    .replace(/^\u{feff}/u, '');
  // Other than YAML, JSON may be indented by tabs and be as deep as it likes.
  if (/\.json$/i.test(inside.path)) {
    try {
      return { ok: true, value: JSON.parse(text) as unknown };
    } catch {
      return {
        ok: false,
        problems: [
          { file: inside.path, line: 0, column: 0, message: 'the document is not JSON; correct it, or name it .yaml' },
        ],
      };
    }
  }
  const read = readYaml(inside.path, text, z.unknown());
  return read.ok ? { ok: true, value: read.value } : { ok: false, problems: read.problems };
}
