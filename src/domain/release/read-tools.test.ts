import { expect, test } from 'vitest';
import { formatProblem, readYaml } from '#base';
import { openArgumentCheck } from './argument-check.ts';
import { readTools } from './read-tools.ts';
import { assistantSchema } from './schema.ts';
import { sourceToolName } from './tool-name.ts';
import type { ReleaseTool } from './tool-spec.ts';

function read(yaml: string, documents: Readonly<Record<string, unknown>> = {}) {
  const file = readYaml('assistant.yaml', `name: guide\ntools:\n${yaml}`, assistantSchema);
  if (!file.ok) throw new Error(file.problems.map((problem) => formatProblem(problem)).join('\n'));
  return readTools(file.value.tools, (path) => documents[path]);
}

function toolsOf(yaml: string, documents?: Readonly<Record<string, unknown>>): readonly ReleaseTool[] {
  const { tools, problems } = read(yaml, documents);
  if (problems.length > 0) throw new Error(problems.map(({ message }) => message).join('\n'));
  return tools;
}

function complaints(yaml: string): string {
  const file = readYaml('assistant.yaml', `name: guide\ntools:\n${yaml}`, assistantSchema);
  return file.ok
    ? read(yaml)
        .problems.map(({ message }) => message)
        .join('\n')
    : file.problems.map(({ message }) => message).join('\n');
}

/** A small document in the way that real ones are written: shared parameters, references, a schema that refers to itself. */
const petStore = {
  openapi: '3.0.3',
  info: { title: 'Pets', version: '1' },
  servers: [{ url: 'https://pets.example.com/api/v2/' }],
  paths: {
    '/pets/{petId}': {
      parameters: [{ $ref: '#/components/parameters/PetId' }],
      get: {
        operationId: 'getPet',
        summary: 'One pet.',
        description: 'With its parents.',
        parameters: [{ name: 'X-Trace', in: 'header', schema: { type: 'string' } }],
      },
      put: {
        operationId: 'putPet',
        requestBody: {
          required: true,
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Pet' } } },
        },
      },
      delete: {
        operationId: 'pets.delete',
        parameters: [{ name: 'X-Admin', in: 'header', required: true, schema: { type: 'string' } }],
      },
    },
    '/pets': {
      get: {
        operationId: 'listPets',
        parameters: [
          { name: 'tags', in: 'query', explode: false, schema: { type: 'array', items: { type: 'string' } } },
          {
            name: 'limit',
            in: 'query',
            description: 'How many.',
            schema: { type: 'integer', minimum: 0, exclusiveMinimum: true, example: 3 },
          },
        ],
      },
      post: { operationId: 'upload', requestBody: { required: true, content: { 'image/png': {} } } },
    },
  },
  components: {
    parameters: { PetId: { name: 'petId', in: 'path', required: true, schema: { type: 'string' } } },
    schemas: {
      Pet: {
        type: 'object',
        required: ['name'],
        properties: {
          name: { type: 'string', nullable: true },
          parents: { type: 'array', items: { $ref: '#/components/schemas/Pet' } },
        },
      },
    },
  },
};
const documents = { 'tools/pets.yaml': petStore };
const pets = '  - { kind: openapi, label: pets, document: tools/pets.yaml, operations: ';

test('operations of a document become tools, with its own address, parameters and schemas', () => {
  const [get, put] = toolsOf(
    `${pets}[getPet, { id: putPet, idempotent: true, timeoutMs: 5 }], confirm: true }`,
    documents,
  );
  expect(get).toMatchObject({
    kind: 'http',
    name: 'pets_getPet',
    source: 'pets',
    description: 'One pet.\n\nWith its parents.',
    method: 'GET',
    origin: 'https://pets.example.com',
    path: '/api/v2/pets/{petId}',
    places: { petId: { in: 'path' } },
    parameters: { required: ['petId'], additionalProperties: false },
    policy: { confirm: true, idempotent: false, timeoutMs: 10_000, resultBytesMax: 65_536, ratePerMinute: 30 },
  });
  expect(put).toMatchObject({
    places: { body: { in: 'whole_body' } },
    policy: { confirm: true, idempotent: true, timeoutMs: 5 },
  });
  const check = openArgumentCheck((put as { parameters: object }).parameters);
  expect(check({ petId: '1', body: { name: null, parents: [{ name: 'Rex', parents: [] }] } })).toEqual([]);
  expect(check({ petId: '1', body: { name: 'x', parents: [{}] } }).join()).toContain('required property "name"');
});

test('query parameters keep their style, and bounds of 3.0 become those of JSON Schema', () => {
  const [list] = toolsOf(`${pets}[listPets], server: 'https://other.example.com/base' }`, documents);
  expect(list).toMatchObject({
    origin: 'https://other.example.com',
    path: '/base/pets',
    places: { tags: { in: 'query', joined: true }, limit: { in: 'query', joined: false } },
    parameters: { properties: { limit: { type: 'integer', exclusiveMinimum: 0, description: 'How many.' } } },
  });
  expect(JSON.stringify(list)).not.toContain('example":3');
});

test.each([
  [`${pets.replace(', operations: ', '')} }`, 'the document has getPet, putPet, pets.delete, listPets, upload'],
  [`${pets}[getPets] }`, 'did you mean "getPet"?'],
  [`${pets}[getPet, getPet] }`, 'stands twice'],
  [`${pets}[pets.delete] }`, 'needs the header parameter "X-Admin"'],
  [`${pets}[upload] }`, 'a body that is not JSON'],
])('what cannot be offered is told with the mend: %s', (yaml, said) => {
  expect(
    read(yaml, documents)
      .problems.map(({ message }) => message)
      .join('\n'),
  ).toContain(said);
});

test.each([
  [{ swagger: '2.0' }, 'version 3.0 or 3.1'],
  [{ ...petStore, servers: [{ url: '/v1' }] }, '"server" is needed'],
  [{ ...petStore, components: {} }, 'differ in {petId}'],
])('a document that does not hold is told', (document, said) => {
  expect(
    read(`${pets}[getPet] }`, { 'tools/pets.yaml': document })
      .problems.map(({ message }) => message)
      .join('\n'),
  ).toContain(said);
});

test.each([
  [
    '{ kind: http, name: a, description: x, url: "https://a.example/{id}" }',
    'takes {id}, which "parameters" does not declare',
  ],
  ['{ kind: http, name: a, description: x, url: "https://{host}.example/x" }', 'must name its host outright'],
  ['{ kind: http, name: a, description: x, url: "https://a.example/x?q={q}" }', 'in its path alone'],
  ['{ kind: http, name: a, description: x, url: "https://a.example/x/../y" }', 'without dot segments'],
  [
    '{ kind: http, name: a, description: x, url: "https://me:pw@a.example/x" }',
    'must not carry a user name or password',
  ],
  ['{ kind: http, name: a, description: x, url: "ftp://a.example/x" }', 'must be a whole address'],
  ['{ kind: http, name: a b, description: x, url: "https://a.example" }', 'must have letters, digits'],
  [
    '{ kind: http, name: a, description: x, url: "https://a.example", headers: { Authorization: Bearer x } }',
    'must not be set here',
  ],
  [
    '{ kind: http, name: a, description: x, url: "https://a.example", headers: { X-Api-Key: x } }',
    'must not look like a credential',
  ],
  ['{ kind: http, name: a, description: x, url: "https://a.example", authorisation: service }', 'needs "credential"'],
  [
    '{ kind: http, name: a, description: x, url: "https://a.example", credential: crm }',
    'authorisation: service alone',
  ],
  [
    '{ kind: http, name: a, description: x, url: "https://a.example", parameters: { type: object, properties: { q: { $ref: "#/nowhere" } } } }',
    'cannot be checked',
  ],
  ['{ kind: mcp, label: shop, url: "https://a.example/mcp", tools: [] }', 'must name the tools'],
  ['{ kind: mcp, label: a_b, url: "https://a.example/mcp", tools: [x] }', 'inner hyphens'],
])('a declaration that does not hold is told: %s', (yaml, said) => {
  expect(complaints(`  - ${yaml}`)).toContain(said);
});

test('a path beyond ASCII is sent encoded, with its arguments where they stand', () => {
  const yaml =
    '  - { kind: http, name: a, description: x, url: "https://bücher.example/straße/{größe}", parameters: { type: object, properties: { größe: { type: string } }, required: [größe] } }';
  expect(toolsOf(yaml)[0]).toMatchObject({ origin: 'https://xn--bcher-kva.example', path: '/stra%C3%9Fe/{größe}' });
});

test('no two tools have one name, whatever their sources', () => {
  const http = (name: string) => `  - { kind: http, name: ${name}, description: x, url: "https://a.example" }\n`;
  const mcp = '  - { kind: mcp, label: shop, url: "https://a.example/mcp", tools: [x] }\n';
  expect(complaints(http('a') + http('a'))).toContain('stands twice');
  expect(complaints(mcp + mcp)).toContain('stands twice');
  expect(complaints(http('shop_x') + mcp)).toContain('begins with "shop_"');
  expect(complaints(http('shopping') + mcp)).toBe('');
});

test('a name that models do not accept is spelt anew, and stays another one than its neighbour', () => {
  expect(sourceToolName('shop', 'add')).toBe('shop_add');
  const names = ['a.b', 'a/b', 'ü', 'x'.repeat(200), `${'x'.repeat(200)}y`].map((name) => sourceToolName('shop', name));
  expect(new Set(names).size).toBe(5);
  for (const name of names) expect(name).toMatch(/^[a-zA-Z0-9_-]{1,64}$/);
});

test('a schema that cannot be checked with is refused when it is opened, and none ever throws at a call', () => {
  const withArgument = (q: object) => ({ type: 'object', properties: { q } });
  for (const q of [{ $ref: '#/nowhere' }, { pattern: '(' }, { patternProperties: { '[': {} } }]) {
    expect(() => openArgumentCheck(withArgument(q))).toThrow();
  }
  const endless = openArgumentCheck(withArgument({ $ref: '#/properties/q' }));
  expect(endless({ q: 1 }).join()).toContain('more deeply');
  const tree = openArgumentCheck({ type: 'object', properties: { q: { $ref: '#' } } });
  expect(tree({ q: { q: { q: 1 } } })).toEqual(['q/q/q: Instance type "number" is invalid. Expected "object".']);
  expect(
    openArgumentCheck({ type: 'object', properties: { text: { type: 'string' } } })(
      JSON.parse('{"__proto__":1,"constructor":2}'),
    ),
  ).toEqual([]);
});
