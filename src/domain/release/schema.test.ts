import { expect, test } from 'vitest';
import { formatProblem, readYaml, summarizeProblem } from '#base';
import type { AssistantSpec } from './spec.ts';
import { assistantJsonSchema, assistantSchema } from './schema.ts';

function specOf(yaml: string): AssistantSpec {
  const read = readYaml('assistant.yaml', yaml, assistantSchema);
  if (!read.ok) throw new Error(read.problems.map((problem) => formatProblem(problem)).join('\n'));
  return read.value.spec;
}

function problemsOf(yaml: string): string[] {
  const read = readYaml('assistant.yaml', yaml, assistantSchema);
  return read.ok ? [] : read.problems.map((problem) => summarizeProblem(problem));
}

test('a name alone makes an assistant; all else has a default, and only holders of a token may open its page', () => {
  const read = readYaml('assistant.yaml', 'name: guide', assistantSchema);
  expect(read).toMatchObject({ ok: true, value: { instructionsFile: 'instructions.md' } });
  expect(specOf('name: guide')).toEqual({
    name: 'guide',
    title: 'guide',
    description: '',
    pools: [{ pool: 'default' }],
    parameters: {},
    context: { budgetTokens: 8000, whenFull: 'truncate', compactAt: 0.7 },
    knowledge: { passages: 6, search: 'prompt' },
    limits: { inputCharacters: 16_000, turnsPerMinutePerUser: 20 },
    turns: { rescue: 'continue', whileBusy: 'refuse', queueMax: 5, queueMs: 60_000, outliveClientMs: 30_000 },
    disclosure: 'You are talking with an AI assistant. It can make mistakes: check what matters.',
    page: { access: 'token', origins: [], suggestions: [] },
  });
});

test.each([
  ['model: gpt-4.1-mini', [{ pool: 'default', model: 'gpt-4.1-mini' }]],
  ['pools: [main, backup]', [{ pool: 'main' }, { pool: 'backup' }]],
  [
    'pools:\n  - {pool: main, model: gpt-4.1-mini}\n  - backup',
    [{ pool: 'main', model: 'gpt-4.1-mini' }, { pool: 'backup' }],
  ],
])('pools may be written short: %s', (yaml, pools) => {
  expect(specOf(`name: guide\n${yaml}`).pools).toEqual(pools);
});

test('one text to stop at may stand without a list', () => {
  expect(specOf('name: guide\nparameters: {stop: END}').parameters.stop).toEqual(['END']);
});

test('keys without a value leave no trace, so that specs of one meaning have one form', () => {
  expect(Object.keys(specOf('name: guide').parameters)).toEqual([]);
  expect(Object.keys(specOf('name: guide').pools[0]!)).toEqual(['pool']);
});

test.each([
  ['name: guide\ntemperature: 1', '2:1  unknown key "temperature"'],
  [
    'name: guide\nparameters:\n  max_output_tokens: 5',
    '3:3  unknown key "max_output_tokens"; did you mean "maxOutputTokens"?',
  ],
  ['name: Guide', '1:7  "name" must have lower-case letters, digits and inner hyphens, at most 63'],
  ['name: guide@production', '1:7  "name" must have lower-case'],
  ['name: guide\npools: [main, {pol: x}]', '2:16  unknown key "pol"; did you mean "pool"?'],
  ['name: guide\nmodel: a\npools: [main]', '2:8  "model" and "pools" stand together'],
  [
    'name: guide\nparameters: {reasoningEffort: hihg}',
    '2:31  "reasoningEffort" must be "none", "minimal", "low", "medium", "high" or "xhigh"; did you mean "high"?',
  ],
  ['name: guide\npage:\n  origins: [https://a.example/path]', '3:13  item 1 of "origins" must be an origin such as'],
  [
    'name: guide\ncontext: {budgetTokens: 500, whenFull: compact}',
    '2:40  "compact" needs a "budgetTokens" of at least 1000',
  ],
  ['name: guide\ncontext: {budgetTokens: 1.5}', '2:25  "budgetTokens" must be a whole number, not a fraction'],
])('a mistake is told where it stands: %s', (yaml, expected) => {
  expect(problemsOf(yaml).join('\n')).toContain(`assistant.yaml:${expected}`);
});

test('every key of the JSON Schema says what it is for', () => {
  const undescribed: string[] = [];
  const visit = (schema: unknown, path: string): void => {
    if (typeof schema !== 'object' || schema === null) return;
    for (const [key, property] of Object.entries((schema as { properties?: object }).properties ?? {})) {
      if (!(property as { description?: string }).description) undescribed.push(`${path}.${key}`);
      visit(property, `${path}.${key}`);
    }
    const { items, anyOf } = schema as { items?: unknown; anyOf?: unknown[] };
    for (const inner of [items, ...(anyOf ?? [])]) visit(inner, `${path}[]`);
  };
  visit(assistantJsonSchema(), '');
  expect(undescribed).toEqual([]);
});
