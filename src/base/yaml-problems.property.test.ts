import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { formatProblem } from './problem.ts';
import { readYaml } from './yaml-problems.ts';

const schema = z.strictObject({
  name: z.string(),
  pools: z.array(z.union([z.string(), z.strictObject({ pool: z.string() })])).optional(),
  page: z.strictObject({ access: z.enum(['public', 'token']).default('token') }).prefault({}),
});

// Pieces of real files, so that many of the texts are almost valid.
const piece = fc.constantFrom(
  'name: a',
  'pools:',
  '  - main',
  '  - {pool: x',
  '}',
  'page:',
  '  access: pubic',
  '&a ',
  '*a',
  '!tag ',
  '\t',
  '"',
  "'",
  '|',
  '>-',
  '---',
  '...',
  '%YAML 1.1',
  '? ',
  ': ',
  '- ',
  '[',
  ']',
  '#',
  '\u{feff}',
  '\r\n',
  '\n',
  '<<: ',
  '__proto__: ',
);
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
  fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('\n')),
);

test('whatever the text, reading ends in a value or in problems that point into the file', () => {
  fc.assert(
    fc.property(text, (content) => {
      const read = readYaml('a.yaml', content, schema);
      if (read.ok) return;
      expect(read.problems.length).toBeGreaterThan(0);
      const lines = content.split('\n').length;
      for (const problem of read.problems) {
        expect(problem.line).toBeGreaterThanOrEqual(1);
        expect(problem.line).toBeLessThanOrEqual(lines + 1);
        expect(problem.column).toBeGreaterThanOrEqual(1);
        expect(problem.message).not.toMatch(/[\p{Cc}]|undefined|\[object/u);
        expect(formatProblem(problem)).toContain(`a.yaml:${problem.line}:`);
      }
    }),
    { numRuns: 2000, verbose: 1, examples: [['__proto__: >-!tag !tag \t']] },
  );
});
