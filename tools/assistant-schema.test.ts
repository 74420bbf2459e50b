import { Ajv2020 } from 'ajv/dist/2020.js';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { assistantJsonSchema, assistantSchema } from '#release';
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

test('the file with all defaults in the guide to assistants is what a name alone gives', () => {
  const page = readFileSync(new URL('../docs/guide/assistants.md', import.meta.url), 'utf8');
  const shown = /```yaml\n(# yaml-language-server[\s\S]*?)```/u.exec(page)?.[1] ?? '';
  expect(assistantSchema.parse(parse(shown))).toEqual(assistantSchema.parse({ name: 'my-assistant' }));
});
