import { existsSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { lexer, type Token, type Tokens } from 'marked';
import { describe, expect, test } from 'vitest';
import {
  memberPath,
  nodesOf,
  parseModule,
  projectFiles,
  readProjectFile,
  root,
  type ModuleUse,
} from './source-tree.ts';

const files = projectFiles();
const isTest = (path: string): boolean => /\.(test|property\.test|contract|fixture|model)\.ts$/.test(path);
const modules = files.filter((path) => /^(src|test|tools)\/.*\.ts$/.test(path)).map((path) => parseModule(path));
const source = modules.filter(({ path }) => path.startsWith('src/'));
const shipped = source.filter(({ path }) => !isTest(path));

/** Rooms by rank: each imports lower ranks, and of its own rank types alone. */
const ranks: readonly (readonly string[])[] = [
  ['base'],
  ['domain/access', 'domain/cluster', 'domain/conversation', 'domain/experiment', 'domain/release'],
  ['egress'],
  ['balancer', 'backend', 'config', 'knowledge', 'store', 'telemetry', 'tools', 'vault'],
  ['turn', 'control', 'evaluate'],
  ['http', 'cli'],
  ['main'],
];
const doors = Object.entries(
  (JSON.parse(readProjectFile('package.json')) as { imports: Record<string, string | Record<string, string>> }).imports,
);

/** `src/domain/access/principal.ts` -> `domain/access`; undefined outside `src`. */
function roomOf(path: string): string | undefined {
  return /^src\/(domain\/[^/]+|[^/.]+)(?:\/|\.ts$)/.exec(path)?.[1];
}

function rankOf(path: string): number {
  // The entry of the process starts the composition root, so it stands above all.
  if (path === 'src/cli/usher.ts') return ranks.length;
  const room = roomOf(path);
  return ranks.findIndex((rank) => rank.includes(room ?? ''));
}

/** The file that a `#door` or relative import leads to; undefined for packages. */
function targetOf({ from, to }: ModuleUse): string | undefined {
  if (to.startsWith('.')) return posix.normalize(posix.join(posix.dirname(from), to));
  const door = doors.find(([name]) => name === to)?.[1];
  return typeof door === 'object' ? door['default']?.replace('./', '') : undefined;
}

describe('rooms', () => {
  test('these checks see the whole source', () => {
    expect(source.length).toBeGreaterThanOrEqual(120);
    expect(shipped.length).toBeGreaterThanOrEqual(90);
    expect(modules.flatMap(({ uses }) => uses).length).toBeGreaterThanOrEqual(400);
  });

  test('every file of the source lies in a room that has a rank', () => {
    expect(source.map(({ path }) => path).filter((path) => rankOf(path) === -1)).toEqual([]);
  });

  test('every door leads to a file, in the checkout and in what is published alike', () => {
    for (const [name, door] of doors) {
      if (typeof door === 'string') continue;
      expect(existsSync(join(root, door['default']!)), name).toBe(true);
      expect(door['published'], name).toBe(door['default']!.replace('./src/', './dist/').replace(/\.ts$/, '.js'));
    }
  });

  test('another room is entered by its door alone', () => {
    const trespasses = modules.flatMap(({ uses }) =>
      uses.filter((use) => {
        // The generators of the reference read the command tree, which has no door.
        if (!use.to.startsWith('.') || use.from.startsWith('tools/')) return false;
        const target = targetOf(use) ?? '';
        return roomOf(target) !== roomOf(use.from);
      }),
    );
    expect(trespasses.map(describeUse)).toEqual([]);
  });

  test('every # import is a door', () => {
    const names = new Set(doors.map(([name]) => name));
    const unknown = modules.flatMap(({ uses }) =>
      uses.filter(({ to }) => to.startsWith('#') && !to.startsWith('#test/') && !names.has(to)),
    );
    expect(unknown.map(describeUse)).toEqual([]);
  });

  test('a room imports lower ranks, and of its own rank types alone', () => {
    const upward = shipped.flatMap(({ uses }) =>
      uses.filter((use) => {
        const target = targetOf(use);
        if (target === undefined || roomOf(target) === roomOf(use.from)) return false;
        const [from, to] = [rankOf(use.from), rankOf(target)];
        return to > from || (to === from && !use.typeOnly);
      }),
    );
    expect(upward.map(describeUse)).toEqual([]);
  });

  test('only the composition root and tests know which database it is', () => {
    const knowing = shipped.flatMap(({ uses }) =>
      uses.filter(({ from, to }) => to.startsWith('#store/') && roomOf(from) !== 'main'),
    );
    expect(knowing.map(describeUse)).toEqual([]);
  });
});

describe('purity', () => {
  const pure = shipped.filter(({ path }) => /^src\/(domain|balancer)\//.test(path));
  /** Computing only: no disk, no network, no time. */
  const computing = new Set(['node:crypto', 'node:zlib', 'node:path', 'node:path/posix', 'node:url', 'node:buffer']);
  const impure =
    /^(Date\.now|Math\.random|performance\.now|crypto\.(randomUUID|getRandomValues)|process\..+|globalThis\..+)$/;
  /** The secret of a new API key is chance itself; tests hand in their own. */
  const drawsKeys = 'src/domain/access/api-key.ts: randomBytes';
  const impureNames =
    /^(setTimeout|setInterval|setImmediate|fetch|queueMicrotask|random(Bytes|UUID|Int|Fill|FillSync))$/;

  test('domain and balancer do no input or output, and know neither time nor chance', () => {
    expect(pure.length).toBeGreaterThanOrEqual(20);
    const imports = pure
      .flatMap(({ uses }) => uses)
      .filter(({ to, typeOnly }) => to.startsWith('node:') && !typeOnly && !computing.has(to));
    const calls = pure.flatMap(({ path, program }) =>
      Array.from(nodesOf(program)).flatMap((node) => {
        const now = node.type === 'NewExpression' && isNowDate(node);
        const name = now ? 'new Date()' : (memberPath(node) ?? '');
        return now || impure.test(name) || impureNames.test(name) ? [`${path}: ${name}`] : [];
      }),
    );
    expect(imports.map(describeUse)).toEqual([]);
    expect(calls.filter((call) => call !== drawsKeys)).toEqual([]);
  });

  test('only the configuration reads the environment', () => {
    const readers = shipped
      .filter(({ path }) => !path.startsWith('src/config/'))
      .flatMap(({ path, program }) =>
        Array.from(nodesOf(program))
          .filter((node) => memberPath(node) === 'process.env' || takesEnvironment(node))
          .map(() => path),
      );
    expect(readers).toEqual([]);
  });

  function isNowDate(node: { readonly [key: string]: unknown }): boolean {
    const callee = node['callee'] as { readonly type: string };
    return memberPath(callee) === 'Date' && (node['arguments'] as readonly unknown[]).length === 0;
  }

  /** `const { env } = process` */
  function takesEnvironment(node: { readonly type: string; readonly [key: string]: unknown }): boolean {
    if (node.type !== 'VariableDeclarator' || memberPathOf(node['init']) !== 'process') return false;
    return Array.from(nodesOf(node['id'])).some((inner) => inner['name'] === 'env');
  }

  function memberPathOf(node: unknown): string | undefined {
    return typeof node === 'object' && node !== null ? memberPath(node as { type: string }) : undefined;
  }
});

describe('words', () => {
  /** What a thing is never called, and where the word means something else or is the wire's own. */
  const never: Readonly<Record<string, RegExp>> = {
    bot: /^$/,
    agent: /user-?agent|httpAgent|undici/i,
    canary: /^$/,
    arm: /^$/,
    kpi: /^$/,
    thread: /worker_?-?thread/i,
    org: /^$/,
    account: /^$/,
    upstream: /^$/,
    provider: /^$/,
    stage: /^$/,
    deployment: /azure|deployment: z|deployment\b.*backend/i,
  };
  /** The folders that speak another's wire use that wire's words. */
  const wire = /^src\/(http\/openai|backend\/openai|config)\//;

  test('one word for one thing: exported names and file names use none of the others', () => {
    const found = shipped
      .filter(({ path }) => !wire.test(path))
      .flatMap(({ path, exportedNames }) => {
        const names = [posix.basename(path, '.ts'), ...exportedNames];
        return names.flatMap((name) =>
          wordsOf(name)
            .filter((word) => never[word] !== undefined && !never[word].test(name))
            .map((word) => `${path}: ${name} (${word})`),
        );
      });
    expect(found).toEqual([]);
  });

  test('no file or folder is named for what it is not', () => {
    const vague = /(^|[/-])(utils?|helpers?|common|services?|managers?|misc|lib)([/.-]|$)/;
    expect(files.filter((path) => /^(src|test|tools|widget|bin)\//.test(path) && vague.test(path))).toEqual([]);
  });

  test('source files are named in kebab-case', () => {
    const names = files.filter((path) => /^(src|test|tools|widget)\/.*\.(ts|js)$/.test(path));
    expect(names.filter((path) => !/^[a-z0-9-]+(\.[a-z0-9-]+)*\.(ts|js)$/.test(posix.basename(path)))).toEqual([]);
  });

  function wordsOf(name: string): string[] {
    return name
      .split(/(?=[A-Z][a-z])|[^A-Za-z]+|(?<=[a-z])(?=[A-Z])/)
      .map((word) => word.toLowerCase().replace(/s$/, ''));
  }
});

describe('size', () => {
  /** Both only ever shrink: a longer file is split, and a shorter longest one lowers the figure. */
  const sourceLinesMax = 420;
  const functionLinesMax = 90;

  test(`no source file is longer than ${sourceLinesMax} lines`, () => {
    const long = shipped.filter(({ text }) => text.split('\n').length > sourceLinesMax);
    expect(long.map(({ path, text }) => `${path}: ${text.split('\n').length}`)).toEqual([]);
  });

  test(`no function is longer than ${functionLinesMax} lines`, () => {
    const kinds = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);
    // A migration is one list of statements, in the order they run.
    const long = shipped
      .filter(({ path }) => !path.startsWith('src/store/migrations/'))
      .flatMap(({ path, text, program }) =>
        Array.from(nodesOf(program))
          .filter(({ type }) => kinds.has(type))
          .map((node) => ({ start: node['start'] as number, end: node['end'] as number }))
          .map(({ start, end }) => ({ at: lineOf(text, start), lines: text.slice(start, end).split('\n').length }))
          .filter(({ lines }) => lines > functionLinesMax)
          .map(({ at, lines }) => `${path}:${at}: ${lines} lines`),
      );
    expect(long).toEqual([]);
  });

  function lineOf(text: string, offset: number): number {
    return text.slice(0, offset).split('\n').length;
  }
});

describe('documents', () => {
  const documents = files.filter((path) => path.endsWith('.md') && !path.startsWith('examples/'));

  test('a decision is one page, named by its date', () => {
    const pages = files.filter((path) => path.startsWith('docs/decisions/'));
    expect(pages.filter((path) => !/^docs\/decisions\/\d{4}-\d{2}-\d{2}-[a-z0-9-]+\.md$/.test(path))).toEqual([]);
  });

  test('every link within the project leads somewhere', () => {
    expect(documents.length).toBeGreaterThanOrEqual(5);
    const broken = documents.flatMap((path) =>
      linksOf(lexer(readProjectFile(path)))
        .filter((link) => !/^[a-z]+:/i.test(link))
        .filter((link) => !leadsSomewhere(path, decodeURIComponent(link)))
        .map((link) => `${path}: ${link}`),
    );
    expect(broken).toEqual([]);
  });

  test('the project names no machine that it was made on', () => {
    // Put together from parts, so that this line is not a find itself.
    const places = ['work', 'root', 'home/[a-z]+', 'Users/[A-Za-z]+', 'tmp/bash'].map((place) => `/${place}/`);
    const registries = ['registry\\.[a-z]+', 'pypi', 'pythonhosted'].map((host) => `\\b${host}\\.(com|org|io|net)\\b`);
    const telling = new RegExp(`(?<![\\w.*])(${[...places, ...registries].join('|')})`);
    const text = files.filter((path) => !/\.(png|ico|woff2?|pdf|gguf|db)$/.test(path) && path !== 'tools/tidy.test.ts');
    const found = text.flatMap((path) =>
      readProjectFile(path)
        .split('\n')
        .flatMap((line, index) => (telling.test(line) ? [`${path}:${index + 1}: ${line.trim().slice(0, 100)}`] : [])),
    );
    expect(found).toEqual([]);
  });

  function linksOf(tokens: readonly Token[]): string[] {
    return tokens.flatMap((token) => {
      const own = token.type === 'link' || token.type === 'image' ? [token['href'] as string] : [];
      const below = [
        ...('tokens' in token && token.tokens ? token.tokens : []),
        ...(token.type === 'list' ? (token['items'] as Token[]) : []),
        ...(token.type === 'table' ? cellsOf(token) : []),
      ];
      return [...own, ...linksOf(below)];
    });
  }

  function cellsOf(table: Token): Token[] {
    const { header, rows: below } = table as Tokens.Table;
    const rows = [header, ...below];
    return rows.flat().flatMap((cell) => cell.tokens);
  }

  function leadsSomewhere(from: string, link: string): boolean {
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? from : posix.join(dirname(from), path);
    if (!existsSync(join(root, target))) return false;
    if (anchor === undefined || !target.endsWith('.md')) return true;
    const headings = readProjectFile(target).matchAll(/^#{1,6}\s+(.*)$/gm);
    return Array.from(headings).some(([, heading]) => slugOf(heading!) === anchor);
  }

  /** As the usual forges make it. */
  function slugOf(heading: string): string {
    return heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(/\s/g, '-');
  }
});

function describeUse({ from, to, typeOnly }: ModuleUse): string {
  return `${from} -> ${to}${typeOnly ? ' (types)' : ''}`;
}
