import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { configJsonSchema } from '#config';
import { assistantJsonSchema } from '#release';
import { documentedRoutes } from './http-reference.ts';
import { exampleConfig, referencePages } from './reference-pages.ts';
import { readProjectFile, root } from './source-tree.ts';

describe('reference', () => {
  test.each(Object.entries(referencePages()))('%s says what the program does (npm run docs)', (path, content) => {
    expect(existsSync(join(root, path))).toBe(true);
    expect(readProjectFile(path)).toBe(content);
  });

  test('every route says in a sentence what it does, and each that takes a body which one', () => {
    const routes = documentedRoutes().flatMap((group) => group.routes);
    expect(routes.length).toBeGreaterThan(25);
    for (const { method, path, summary, body } of routes) {
      expect(summary, path).toMatch(/^[A-Z`].+\.$/);
      // What is merely stopped is named by its path.
      const takesBody = method === 'POST' && !/\/(?:cancel|return)$/u.test(path);
      expect(body !== undefined, `${method} ${path}`).toBe(takesBody);
    }
  });

  test('an editor accepts the example assistants, and marks a mistyped key', () => {
    const valid = new Ajv2020({ strict: false }).compile(assistantJsonSchema());
    const example = parse(readProjectFile('examples/assistants/guide/assistant.yaml')) as object;
    expect(valid(example), JSON.stringify(valid.errors)).toBe(true);
    expect(valid({ ...example, temprature: 1 })).toBe(false);
  });

  test('an editor accepts a configuration, and marks a literal key', () => {
    const valid = new Ajv2020({ strict: false }).compile(configJsonSchema());
    const backend = { name: 'main', kind: 'openai', model: 'gpt-4.1-mini' };
    expect(valid({ backends: [{ ...backend, key: { env: 'OPENAI_API_KEY' } }] })).toBe(true);
    expect(valid({ backends: [{ ...backend, key: 'literal' }] })).toBe(false);
    expect(valid(parse(exampleConfig)), JSON.stringify(valid.errors)).toBe(true);
  });
});
