import { Ajv2020 } from 'ajv/dist/2020.js';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { assistantJsonSchema } from '#release';
import { isSchemaStale } from './assistant-schema.ts';

test('the published JSON Schema is that of the program (else run: node tools/assistant-schema.ts)', async () => {
  expect(await isSchemaStale()).toBe(false);
});

test('the JSON Schema accepts the example assistants and refuses a mistyped key', () => {
  const validate = new Ajv2020({ strict: false }).compile(assistantJsonSchema());
  for (const folder of ['assistants/guide', 'template']) {
    const file: unknown = parse(readFileSync(new URL(`../examples/${folder}/assistant.yaml`, import.meta.url), 'utf8'));
    expect(validate(file), JSON.stringify(validate.errors)).toBe(true);
  }
  expect(validate({ name: 'guide', temprature: 1 })).toBe(false);
});
