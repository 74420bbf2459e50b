import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { formatProblem, summarizeProblem, type Problem } from './problem.ts';
import { readYaml } from './yaml-problems.ts';

const schema = z.strictObject({
  name: z.string().min(1),
  parameters: z.strictObject({ temperature: z.number().min(0).max(2).optional() }).prefault({}),
  access: z.enum(['public', 'token']).default('token'),
  origins: z.array(z.string().startsWith('https://', 'must begin with https://')).default([]),
  pools: z
    .union([
      z.string(),
      z.array(z.union([z.string(), z.strictObject({ pool: z.string(), model: z.string().optional() })])),
    ])
    .optional(),
  storage: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('sqlite'), path: z.string() }),
      z.strictObject({ kind: z.literal('postgres'), poolMax: z.int() }),
    ])
    .optional(),
  limits: z.record(z.string(), z.strictObject({ most: z.int() })).optional(),
});

function problemsOf(text: string): readonly Problem[] {
  const read = readYaml('assistant.yaml', text, schema);
  return read.ok ? [] : read.problems;
}
const lines = (text: string): string[] => problemsOf(text).map((problem) => summarizeProblem(problem));

describe('readYaml', () => {
  test('a valid file gives its value with defaults', () => {
    const read = readYaml('assistant.yaml', 'name: guide\r\nparameters:\r\n  temperature: 0.5\r\n', schema);
    expect(read).toMatchObject({
      ok: true,
      value: { name: 'guide', parameters: { temperature: 0.5 }, access: 'token', origins: [] },
    });
  });

  test('an unknown key is told with file, line, column, the nearest word, and a caret under it', () => {
    const [problem, ...others] = problemsOf('name: guide\nparameters:\n  temprature: 0.5\n');
    expect(others).toEqual([]);
    expect(problem).toMatchObject({ line: 3, column: 3, nearest: 'temperature' });
    expect(formatProblem(problem!)).toBe(
      [
        'assistant.yaml:3:3  unknown key "temprature"; did you mean "temperature"?',
        '  3 |   temprature: 0.5',
        '    |   ^',
      ].join('\n'),
    );
  });

  test.each([
    [
      'an unknown key near nothing lists the known ones',
      'name: a\nparameters: {zzz: 1}',
      '2:14  unknown key "zzz" in "parameters"; known here: temperature',
    ],
    ['a missing key is told at the file', 'access: public', '1:1  "name" must be given: text'],
    ['a wrong type says what was expected and found', 'name: [a]', '1:1  "name" must be text, not a list'],
    ['an empty value is told at its key', 'name:\naccess: public', '1:1  "name" must be text, not empty'],
    ['a number out of range', 'name: a\nparameters: {temperature: 3}', '2:27  "temperature" must be at most 2'],
    [
      'a mistyped choice names the nearest',
      'name: a\naccess: pubic',
      '2:9  "access" must be "public" or "token"; did you mean "public"?',
    ],
    [
      'a list item is counted from 1',
      'name: a\norigins:\n  - https://a\n  - http://b',
      '4:5  item 2 of "origins" must begin with https://',
    ],
    [
      'a union tells about the branch that fits',
      'name: a\npools:\n  - main\n  - {pool: x, modle: y}',
      '4:15  unknown key "modle"; did you mean "model"?',
    ],
    ['a union that nothing fits names all shapes', 'name: a\npools: 3', '2:8  "pools" must be text or a list'],
    [
      'a discriminator names the nearest kind',
      'name: a\nstorage:\n  kind: postgre\n',
      '3:9  "kind" must be "sqlite" or "postgres"; did you mean "postgres"?',
    ],
    [
      'a branch of a discriminated union knows its own keys',
      'name: a\nstorage: {kind: sqlite, pathh: x, path: y}',
      '2:25  unknown key "pathh"; did you mean "path"?',
    ],
    [
      'a record is walked by its keys',
      'name: a\nlimits:\n  free:\n    msot: 1\n    most: 1',
      '4:5  unknown key "msot"; did you mean "most"?',
    ],
    ['a value behind an alias is found', 'name: &n [1]\naccess: *n', '1:1  "name" must be text, not a list'],
    ['a duplicate key is refused', 'name: a\nname: b', '2:1  this key stands twice; keep one'],
    [
      'a tab as indent is refused',
      'name: a\nparameters:\n\ttemperature: 1',
      '3:1  a tab indents this line; YAML indents with spaces',
    ],
    ['a second document is refused', 'name: a\n---\nname: b', '2:1  a second document begins here; keep one per file'],
    ['a custom tag is refused', 'name: !env HOME', '1:7  custom tags are not read here; write the plain value'],
    [
      'a directive is refused',
      '%YAML 1.1\n---\nname: yes',
      '1:1  directives such as %YAML and %TAG are not read here; remove the line',
    ],
    ['an unknown alias is told', 'name: *nobody', '1:1  the alias *nobody refers to no anchor &nobody above it'],
    ['a circular alias ends', 'name: &a [*a]', '1:1  the file is nested more than 32 levels deep'],
    [
      'an inherited name is an unknown key like any other',
      'name: a\n__proto__: {polluted: true}',
      '2:1  unknown key "__proto__"; known here: name, parameters, access, origins, pools, storage, limits',
    ],
    ['a byte order mark shifts nothing', '\u{feff}nam: a\nname: b', '1:1  unknown key "nam"; did you mean "name"?'],
  ])('%s', (_title, text, expected) => {
    expect(lines(text)).toContain(`assistant.yaml:${expected}`);
  });

  test('an alias bomb is refused, not expanded', () => {
    let bomb = 'name: x\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
    for (let level = 1; level < 9; level += 1) {
      bomb += `a${level}: &a${level} [${Array.from({ length: 10 }, () => `*a${level - 1}`).join(', ')}]\n`;
    }
    expect(lines(bomb)).toEqual(['assistant.yaml:1:1  the file expands more than 100 aliases; write the values out']);
  });

  test('endless nesting is a problem, not a crash', () => {
    expect(lines(`name: ${'['.repeat(50_000)}`).length).toBeGreaterThan(0);
    expect(lines(`name: ${'['.repeat(100)}${']'.repeat(100)}`)).toEqual([
      'assistant.yaml:1:1  the file is nested more than 32 levels deep',
    ]);
  });

  test('an empty file is an empty group of keys', () => {
    expect(lines('')).toEqual(['assistant.yaml:1:1  "name" must be given: text']);
    expect(lines('# only a comment\n')).toHaveLength(1);
  });

  test('what looks like a secret is not printed', () => {
    const secret = 'sk-proj-4f9aZ81kQ02mX7';
    const printed = problemsOf(`name: a\napiKey: ${secret}\nvalue2: ${secret}\npassword: hunter`)
      .map(formatProblem)
      .join('\n');
    expect(printed).not.toContain(secret);
    expect(printed).not.toContain('hunter');
    expect(printed).toContain('apiKey: •••');
  });

  test('what the parser stumbles over is not repeated where it looks like a secret', () => {
    const secret = 'sk-proj-4f9aZ81kQ02mX7';
    expect(lines(`|name: a\t${secret}`).join('')).toMatch(/not valid YAML(?!.*4f9aZ)/u);
  });

  test('a file of many keys is read in reasonable time', () => {
    const many = Array.from({ length: 40_000 }, (_, at) => `key${at}: 1`).join('\n');
    expect(lines(many)).toContain('assistant.yaml:1:1  "name" must be given: text');
  });

  test('a custom finding carries its details on, and hides its line when told so', () => {
    const custom = z.strictObject({ key: z.string() }).superRefine((_value, context) => {
      context.addIssue({
        code: 'custom',
        path: ['key'],
        message: 'must be a reference',
        params: { expected: 'env:NAME', nearest: 'env:KEY', secret: true },
      });
    });
    const read = readYaml('usher.yaml', 'key: abc', custom);
    expect(read.ok ? [] : read.problems).toEqual([
      {
        file: 'usher.yaml',
        line: 1,
        column: 6,
        message: '"key" must be a reference',
        expected: 'env:NAME',
        nearest: 'env:KEY',
      },
    ]);
  });

  test('a later check can point into the file', () => {
    const read = readYaml('assistant.yaml', 'name: a\norigins: [https://a, https://b]', schema);
    expect(read.ok && read.problemAt(['origins', 1], 'is taken')).toMatchObject({ line: 2, column: 22 });
  });
});
