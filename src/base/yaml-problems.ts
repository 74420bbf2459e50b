import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import type { Document, Node, Pair, YAMLError, YAMLMap } from 'yaml';
import type { z } from 'zod';
import { printableLine, type Problem } from './problem.ts';
import { checkAgainst, shown, type Finding, type Path } from './schema-findings.ts';

/**
 * Reads a YAML file that a person wrote, against a zod schema, and says what is wrong where:
 *
 *     const read = readYaml('usher.yaml', text, schema);
 *     if (!read.ok) for (const problem of read.problems) console.error(formatProblem(problem));
 *     else use(read.value, read.problemAt(['pools', 0, 'backends', 1], 'no backend has this name'));
 *
 * `file` is what messages call the file. The schema's own `error` texts win; one that begins with
 * "must " gets the name of the field before it. An issue of `superRefine`/`check` with
 * `params: { expected, nearest }` passes both on; with `params: { secret: true }` the line of the
 * file is not shown. An empty file is `{}`. YAML is 1.2 core: no tags, no directives, no second
 * document, no duplicate keys, at most 100 expanded aliases, 32 levels, 1 MiB.
 */
export function readYaml<T>(file: string, text: string, schema: z.ZodType<T>): YamlRead<T> {
  if (text.length > textLengthMax) {
    return { ok: false, problems: [{ file, line: 1, column: 1, message: 'the file is larger than 1 MiB; split it' }] };
  }
  const source = new YamlSource(file, text);
  const faults = source.faults();
  if (faults.length > 0) return { ok: false, problems: faults };
  const data = source.data();
  if (!data.ok) return { ok: false, problems: [data.problem] };
  const checked = checkAgainst(schema, data.value);
  if (!checked.ok) return { ok: false, problems: checked.findings.map((finding) => source.problem(finding)) };
  return {
    ok: true,
    value: checked.value,
    problemAt: (path, message, details = {}) => source.problem({ path, at: 'value', message, ...details }),
  };
}

export type YamlRead<T> =
  | {
      readonly ok: true;
      readonly value: T;
      /** A problem at a place of the file, for what only shows when several files are seen together. */
      readonly problemAt: (
        path: Path,
        message: string,
        details?: { readonly expected?: string; readonly nearest?: string; readonly secret?: boolean },
      ) => Problem;
    }
  | { readonly ok: false; readonly problems: readonly Problem[] };

const textLengthMax = 1_048_576;
const depthMax = 32;
const aliasesMax = 100;
const problemsMax = 50;

class YamlSource {
  readonly #file: string;
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text.startsWith('\u{feff}') ? text.slice(1) : text;
    this.#document = parseDocument(this.#text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      stringKeys: true,
      // The parser compares each key with each other one; `faults` does it by a set.
      uniqueKeys: false,
      resolveKnownTags: false,
      version: '1.2',
      logLevel: 'error',
    });
  }

  /** What is wrong with the file as YAML, before any schema. */
  faults(): Problem[] {
    const document = this.#document;
    const found = [...document.errors, ...document.warnings]
      .toSorted((a, b) => a.pos[0] - b.pos[0])
      .slice(0, problemsMax)
      .map((error) => this.#at(error.pos[0], syntaxMessage(error)));
    if (document.directives?.yaml.explicit === true || this.#text.startsWith('%')) {
      found.unshift(this.#at(0, 'directives such as %YAML and %TAG are not read here; remove the line'));
    }
    visit(document, {
      Node: (_key, node) => {
        if (found.length >= problemsMax) return visit.BREAK;
        if (!isAlias(node) && node.tag?.startsWith('!') === true) {
          found.push(this.#at(offsetOf(node), `the tag ${shown(node.tag)} is not read here; write the plain value`));
        }
        if (isMap(node)) found.push(...this.#duplicates(node));
        return undefined;
      },
    });
    return found.slice(0, problemsMax);
  }

  #duplicates(map: YAMLMap): Problem[] {
    const seen = new Set<unknown>();
    const twice: Problem[] = [];
    for (const { key } of map.items) {
      if (!isScalar(key)) continue;
      if (seen.has(key.value)) twice.push(this.#at(offsetOf(key), 'this key stands twice; keep one'));
      seen.add(key.value);
    }
    return twice.slice(0, problemsMax);
  }

  data(): { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly problem: Problem } {
    try {
      const value: unknown = this.#document.toJS({ maxAliasCount: aliasesMax });
      if (deeperThan(value, depthMax)) {
        return { ok: false, problem: this.#at(0, `the file is nested more than ${depthMax} levels deep`) };
      }
      return { ok: true, value: value ?? {} };
    } catch (error) {
      const cause = error instanceof ReferenceError ? aliasMessage(error) : 'the file cannot be read as YAML';
      return { ok: false, problem: this.#at(0, cause) };
    }
  }

  problem(finding: Finding): Problem {
    const { line, col } = this.#lines.linePos(this.#locate(finding));
    const sourceLine = finding.secret === true ? undefined : this.#sourceLine(line);
    return {
      file: this.#file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      message: finding.message,
      ...(finding.expected === undefined ? {} : { expected: finding.expected }),
      ...(finding.nearest === undefined ? {} : { nearest: finding.nearest }),
      ...(sourceLine === undefined ? {} : { sourceLine }),
    };
  }

  #at(offset: number, message: string): Problem {
    const { line, col } = this.#lines.linePos(offset);
    const sourceLine = this.#sourceLine(line);
    return {
      file: this.#file,
      line: Math.max(line, 1),
      column: Math.max(col, 1),
      message,
      ...(sourceLine === undefined ? {} : { sourceLine }),
    };
  }

  #sourceLine(line: number): string | undefined {
    const start = this.#lines.lineStarts[line - 1];
    if (start === undefined) return undefined;
    const end = this.#text.indexOf('\n', start);
    const raw = this.#text.slice(start, end === -1 ? undefined : end).replace(/\r$/u, '');
    return raw === '' ? undefined : printableLine(raw);
  }

  /** Offset of what a finding is about: its key, its value, or the nearest place above that exists. */
  #locate(finding: Finding): number {
    let node: Node | null = this.#document.contents;
    let offset = offsetOf(node);
    for (const [index, step] of finding.path.entries()) {
      if (isAlias(node)) node = node.resolve(this.#document) ?? null;
      const last = index === finding.path.length - 1;
      if (isMap(node)) {
        const pair: Pair | undefined = node.items.find((item) => isScalar(item.key) && item.key.value === step);
        if (pair === undefined) return offset;
        const value = isNode(pair.value) ? pair.value : null;
        const keyOffset = isNode(pair.key) ? offsetOf(pair.key) : offset;
        // A value that fills further lines, or none at all, is best shown at its key.
        const inline = value !== null && isScalar(value) && value.source !== '';
        offset = last && (finding.at === 'key' || !inline) ? keyOffset : value === null ? keyOffset : offsetOf(value);
        node = value;
      } else if (isSeq(node) && typeof step === 'number') {
        const item: unknown = node.items[step];
        if (!isNode(item)) return offset;
        node = item;
        offset = offsetOf(node);
      } else {
        return offset;
      }
    }
    return offset;
  }
}

function offsetOf(node: Node | null): number {
  return node?.range?.[0] ?? 0;
}

/** Circular aliases count as endless depth. */
function deeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  return Object.values(value).some((inner) => deeperThan(inner, levels - 1));
}

function aliasMessage(error: ReferenceError): string {
  const unresolved = /Unresolved alias .*: (\S+)$/u.exec(error.message)?.[1];
  if (unresolved !== undefined) return `the alias *${unresolved} refers to no anchor &${unresolved} above it`;
  return `the file expands more than ${aliasesMax} aliases; write the values out`;
}

/** The parser's words for the faults that people really make, told as the mend. */
function syntaxMessage(error: YAMLError): string {
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return 'a tab indents this line; YAML indents with spaces';
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; keep one per file';
    case 'BLOCK_AS_IMPLICIT_KEY':
      return 'a second ": " on this line; put the text in quotes, or the key on a line of its own';
    case 'TAG_RESOLVE_FAILED':
      return 'custom tags are not read here; write the plain value';
    case 'NON_STRING_KEY':
      return 'a key must be a plain word';
    case 'RESOURCE_EXHAUSTION':
      return `the file is nested more than ${depthMax} levels deep`;
    default:
      // Some of the parser's messages repeat what they stumbled over.
      return printableLine(`not valid YAML: ${error.message.replaceAll(/\p{Cc}+/gu, ' ').replace(/[.:]?\s*$/u, '')}`);
  }
}
