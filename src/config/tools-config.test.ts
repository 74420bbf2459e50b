import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { formatConfigProblem, loadConfig } from '#config';

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'usher-config-tools-'));
  writeFileSync(join(cwd, 'assistant.yaml'), 'name: porter\n');
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

async function loaded(tools: string, more = '') {
  writeFileSync(join(cwd, 'usher.yaml'), `tools:\n${tools}\n${more}`);
  return loadConfig({ env: { CRM_TOKEN: 'sesame', BAD: 'a\nb' }, flags: {}, cwd });
}

async function complaints(tools: string, more = ''): Promise<string> {
  const result = await loaded(tools, more);
  return result.ok ? '' : result.problems.map((problem) => formatConfigProblem(problem)).join('\n');
}

const tenants =
  'tenants:\n  - { id: north, assistants: [{ name: porter, folder: . }] }\n  - { id: south, assistants: [{ name: porter, folder: . }] }\n';
const origins = 'origins: [https://crm.example.com]';

test('credentials of tools are read apart from the configuration, and belong to the only tenant', async () => {
  const result = await loaded(`  credentials:
    crm: { secret: { env: CRM_TOKEN }, ${origins} }
    erp: { secret: { env: CRM_TOKEN }, ${origins}, header: X-Api-Key }
  privateOrigins: [http://127.0.0.1:9000]`);
  if (!result.ok) throw new Error('the configuration holds');
  expect(result.config.tools).toEqual({
    credentials: [
      {
        name: 'crm',
        origins: ['https://crm.example.com'],
        header: 'Authorization',
        scheme: 'Bearer',
        tenants: ['default'],
      },
      { name: 'erp', origins: ['https://crm.example.com'], header: 'X-Api-Key', scheme: '', tenants: ['default'] },
    ],
    privateOrigins: ['http://127.0.0.1:9000'],
  });
  expect(result.secrets.toolCredentials.get('crm')).toBe('sesame');
  expect(JSON.stringify(result.config)).not.toContain('sesame');
});

test('without anything said, tools have no credentials and reach public addresses alone', async () => {
  const result = await loaded('  credentials: {}');
  expect(result.ok && result.config.tools).toEqual({ credentials: [], privateOrigins: [] });
});

test.each([
  [`  credentials: { crm: { secret: literal-secret, ${origins} } }`, '', 'a secret must not be written in this file'],
  [`  credentials: { crm: { secret: { env: NOT_SET }, ${origins} } }`, '', 'NOT_SET is not set'],
  [`  credentials: { crm: { secret: { env: BAD }, ${origins} } }`, '', 'must be one line of printable ASCII'],
  ['  credentials: { crm: { secret: { env: CRM_TOKEN }, origins: [] } }', '', 'must name the origins'],
  [
    '  credentials: { crm: { secret: { env: CRM_TOKEN }, origins: [http://crm.example.com] } }',
    '',
    'is not sent over http',
  ],
  [
    `  credentials: { crm: { secret: { env: CRM_TOKEN }, ${origins}, header: Host } }`,
    '',
    'must be a header that carries a credential',
  ],
  [
    `  credentials: { crm: { secret: { env: CRM_TOKEN }, ${origins} } }`,
    tenants,
    '"tenants" must say whose assistants',
  ],
  [
    `  credentials: { crm: { secret: { env: CRM_TOKEN }, ${origins}, tenants: [nort] } }`,
    tenants,
    'did you mean "north"?',
  ],
  ['  privateOrigins: [127.0.0.1]', '', 'must be an origin'],
])('what does not hold is told with the mend: %s', async (tools, more, said) => {
  const told = await complaints(tools, more);
  expect(told).toContain(said);
  expect(told).not.toContain('literal-secret');
});
