import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { openJsonSchema } from './json-schema.ts';

/*
 * The vectors of the JSON Schema Test Suite, of draft 4: what holds there holds in 2020-12 but for
 * what stands below. What came to the language later has tests of its own.
 */

interface Group {
  readonly description: string;
  readonly schema: object;
  readonly tests: readonly { readonly description: string; readonly data: unknown; readonly valid: boolean }[];
}

const folder = fileURLToPath(new URL('tests/draft4/', import.meta.resolve('json-schema-test-suite/package.json')));
const files = [...readdirSync(folder).filter((name) => name.endsWith('.json')), 'optional/format.json'];

/** Groups that say something else in 2020-12, or that need another document. */
const elsewhere = new Map([
  ['exclusiveMaximum validation', 'a number since draft 6'],
  ['exclusiveMinimum validation', 'a number since draft 6'],
  ['valid definition', 'refers to the schema of schemas'],
  ['invalid definition', 'refers to the schema of schemas'],
  ['remote ref, containing refs itself', 'refers to the schema of schemas'],
  ['remote ref', 'refers to another document'],
  ['fragment within remote ref', 'refers to another document'],
  ['ref within remote ref', 'refers to another document'],
  ['change resolution scope', 'refers to another document'],
]);
/** RFC 3986 calls this a reference; `uri` wants a scheme since draft 6. */
const isReference = 'a valid protocol-relative URI';

const vectors = files.flatMap((file) =>
  (JSON.parse(readFileSync(`${folder}/${file}`, 'utf8')) as Group[]).flatMap(({ description, schema, tests }) =>
    elsewhere.has(description)
      ? []
      : tests
          .filter((vector) => vector.description !== isReference)
          .map((vector) => [`${file}: ${description}: ${vector.description}`, schema, vector] as const),
  ),
);

test.each(vectors)('%s', (_name, schema, { data, valid }) => {
  const { result } = openJsonSchema(schema, { patterns: true })(data);
  expect(result).toBe(valid ? 'holds' : 'fails');
});

test('there are vectors', () => {
  expect(vectors.length).toBeGreaterThan(250);
});
