import { z } from 'zod';
import { functionNamePattern, type ToolPolicy } from './tool-spec.ts';

const label = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/,
    'must have lower-case letters, digits and inner hyphens, at most 32',
  );
const credentialName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be the name of a credential under "tools.credentials" of usher.yaml');

/** Without defaults: the same keys stand at a source and, to override, at one of its tools. */
const policyKeys = {
  timeoutMs: z.int().min(1).max(300_000).optional().describe('Longest time of one call. Default: 10000.'),
  resultBytesMax: z
    .int()
    .min(256)
    .max(1_048_576)
    .optional()
    .describe('Longest result put before the model; a longer one is cut there and says so. Default: 65536.'),
  ratePerMinute: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe('Calls of one person within a minute, on one node. Default: 30.'),
  idempotent: z
    .boolean()
    .optional()
    .describe('Whether a call may be made again, with the same `Idempotency-Key`, after a crash. Default: false.'),
  confirm: z.boolean().optional().describe('Whether the person must agree to each call. Default: false.'),
};

/** Headers that Usher or the wire sets; a credential has a place of its own. */
const ownHeaders =
  /^(authorization|proxy-.*|cookie|host|connection|keep-alive|content-length|content-type|content-encoding|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|idempotency-key|mcp-.*)$/i;
const tellingHeader = /key|token|secret|passw|auth|credential|session/i;

const headers = z
  .record(
    z
      .string()
      .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be a header name of letters, digits and hyphens')
      .refine((name) => !ownHeaders.test(name), 'must not be set here, since Usher sets it; leave it out')
      .refine(
        (name) => !tellingHeader.test(name),
        'must not look like a credential; declare it under "tools.credentials" of usher.yaml and name it here by "credential"',
      ),
    z
      .string()
      .max(1000)
      .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII'),
  )
  .default({})
  .describe('Fixed headers of each request. Never a secret: the file is part of the release.');

const authority = {
  authorisation: z
    .enum(['none', 'service', 'user'])
    .default('none')
    .describe(
      '`service`: with the credential named by `credential`; `user`: with the bearer that the application gave for the person, and refused where it gave none.',
    ),
  credential: credentialName.optional().describe('A credential under `tools.credentials` of `usher.yaml`.'),
};

const address = z.string().superRefine((text, issues) => {
  const problem = addressProblem(text);
  if (problem !== undefined) issues.addIssue({ code: 'custom', message: problem });
});

function addressProblem(text: string): string | undefined {
  const host = /^https?:\/\/([^/?#]*)/i.exec(text)?.[1];
  if (host === undefined || URL.parse(text) === null)
    return 'must be a whole address, for example https://api.example.com/v1';
  if (host.includes('@'))
    return 'must not carry a user name or password; name a credential of usher.yaml by "credential"';
  if (/[{}]/.test(host)) return 'must name its host outright; only its path takes {arguments}';
  if (text.includes('#')) return 'must end before #';
  if (/[{}]/.test(text.split('?')[1] ?? ''))
    return 'must take {arguments} in its path alone; other arguments go into the query by themselves';
  if (/[\\\s\p{Cc}]/u.test(text)) return 'must hold no white space, backslash or control character';
  if (/\/\.{1,2}(?:[/?]|$)|%2e|%2f|%5c/i.test(text))
    return 'must be written plainly, without dot segments and encoded slashes';
  return undefined;
}

const jsonSchemaObject = z
  .record(z.string(), z.unknown())
  .refine((schema) => schema['type'] === 'object', 'must be a JSON Schema with type: object');

const httpTool = z
  .strictObject({
    kind: z.literal('http'),
    name: z
      .string()
      .regex(functionNamePattern, 'must have letters, digits, underscores and hyphens, at most 64')
      .describe('What the model calls.'),
    description: z.string().min(1).max(1024).describe('What it does and when to use it, for the model.'),
    method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).default('GET').describe('Of the request.'),
    url: address.describe(
      'Address of the request. `{argument}` stands for an argument of that name, in the path alone. The other arguments go into the query of GET, HEAD and DELETE, and into a JSON body of the rest.',
    ),
    parameters: jsonSchemaObject
      .default({ type: 'object', properties: {}, additionalProperties: false })
      .describe('JSON Schema of the arguments, an object. Default: no arguments.'),
    query: z
      .array(z.string().min(1))
      .max(100)
      .default([])
      .describe('Arguments that go into the query although the method has a body.'),
    headers,
    ...authority,
    ...policyKeys,
  })
  .describe('One HTTP request.');

const openApiTools = z
  .strictObject({
    kind: z.literal('openapi'),
    label: label.describe('Stands before the names of its tools: `<label>_<operationId>`.'),
    document: z
      .string()
      .min(1)
      .describe('The OpenAPI 3.0 or 3.1 document, YAML or JSON, below `tools/` of the folder.'),
    operations: z
      .array(
        z.union([
          z.string().min(1),
          z.strictObject({
            id: z.string().min(1).describe('An operationId of the document.'),
            description: z.string().min(1).max(1024).optional().describe('In place of the one in the document.'),
            ...policyKeys,
          }),
        ]),
      )
      .max(128)
      .optional()
      .describe('The operations that the model may use, each an operationId or `{id, …}` with its own limits.'),
    server: address.optional().describe('Base address in place of the first server of the document.'),
    headers,
    ...authority,
    ...policyKeys,
  })
  .describe('Operations of an OpenAPI document, one tool for each.');

const mcpServer = z
  .strictObject({
    kind: z.literal('mcp'),
    label: label.describe('Stands before the names of its tools: `<label>_<tool>`.'),
    url: address
      .refine((url) => !/[{}]/.test(url), 'must take no {arguments}')
      .describe('Address of the server, spoken to over streamable HTTP.'),
    tools: z
      .array(
        z.union([
          z.string().min(1).max(128),
          z.strictObject({ name: z.string().min(1).max(128).describe('A tool of the server.'), ...policyKeys }),
        ]),
      )
      .min(1, 'must name the tools of the server that the model may use')
      .max(128)
      .describe('The tools that the model may use, each a name or `{name, …}` with its own limits.'),
    headers,
    ...authority,
    ...policyKeys,
  })
  .describe('Tools of a Model Context Protocol server.');

/** `tools:` of `assistant.yaml`. */
export const toolsSchema = z
  .array(z.discriminatedUnion('kind', [httpTool, openApiTools, mcpServer]))
  .max(64)
  .default([])
  .superRefine((tools, issues) => {
    const seen = new Set<string>();
    for (const [index, tool] of tools.entries()) {
      const add = (key: string, message: string): void =>
        issues.addIssue({ code: 'custom', path: [index, key], message: `"${key}" ${message}` });
      for (const { key, message } of authorityProblems(tool)) add(key, message);
      const name = tool.kind === 'http' ? tool.name : `${tool.label}_`;
      if (seen.has(name)) add(tool.kind === 'http' ? 'name' : 'label', 'stands twice; give each tool its own');
      seen.add(name);
      if (tool.kind === 'http') for (const message of placeProblems(tool)) add('url', message);
    }
    for (const [index, tool] of tools.entries()) {
      const prefix = tool.kind === 'http' ? `${tool.name.split('_')[0]}_` : '';
      if (tool.kind === 'http' && tool.name.startsWith(prefix) && seen.has(prefix)) {
        issues.addIssue({
          code: 'custom',
          path: [index, 'name'],
          message: `"name" begins with "${prefix}", as the tools of that label do; choose another name`,
        });
      }
    }
  });

export type ToolFile = z.infer<typeof toolsSchema>[number];
export type HttpToolFile = z.infer<typeof httpTool>;
export type OpenApiToolFile = z.infer<typeof openApiTools>;
export type McpServerFile = z.infer<typeof mcpServer>;

function authorityProblems({ kind, authorisation, credential }: ToolFile): { key: string; message: string }[] {
  if (authorisation === 'service' && credential === undefined) {
    return [
      {
        key: 'authorisation',
        message: 'of "service" needs "credential", a name under "tools.credentials" of usher.yaml',
      },
    ];
  }
  if (credential === undefined || authorisation === 'service' || (kind === 'mcp' && authorisation === 'user'))
    return [];
  return [{ key: 'credential', message: 'is sent with authorisation: service alone; write that, or leave it out' }];
}

/** A path as it is sent: beyond ASCII it is encoded, `{arguments}` stay as they are. */
export function sentPath(path: string): string {
  return path.replaceAll(/\{[^{}]*\}|[^\x21-\x7e]/gu, (part) =>
    part.startsWith('{') ? part : encodeURIComponent(part),
  );
}

/** Names of the `{arguments}` of a path, in their order. */
export function pathArguments(path: string): string[] {
  return Array.from(path.matchAll(/\{([^{}]*)\}/g), ([, name]) => name!);
}

function placeProblems({ url, parameters, query }: HttpToolFile): string[] {
  const declared = parameters['properties'];
  const names = new Set(typeof declared === 'object' && declared !== null ? Object.keys(declared) : []);
  const required = Array.isArray(parameters['required']) ? parameters['required'] : [];
  const inPath = pathArguments(url);
  const problems: string[] = [];
  if (/[{}]/.test(url.replaceAll(/\{[^{}]+\}/g, '')))
    problems.push('has a brace without its other one; write {argument}');
  for (const name of inPath) {
    if (!names.has(name))
      problems.push(`takes {${name}}, which "parameters" does not declare; add it under properties`);
    else if (!required.includes(name)) problems.push(`takes {${name}}, so "parameters" must list it under required`);
  }
  if (new Set(inPath).size < inPath.length) problems.push('takes an argument twice; name each once');
  for (const name of query) {
    if (!names.has(name) || inPath.includes(name))
      problems.push(`cannot take "${name}" of "query"; name an argument that is declared and not in the path`);
  }
  return problems;
}

const policyDefaults: ToolPolicy = {
  timeoutMs: 10_000,
  resultBytesMax: 65_536,
  ratePerMinute: 30,
  idempotent: false,
  confirm: false,
};

export type PolicyFile = { readonly [Key in keyof ToolPolicy]?: ToolPolicy[Key] | undefined };

/** The nearest value that is written: at the tool, else at its source, else the default. */
export function policyOf(...nearestFirst: readonly PolicyFile[]): ToolPolicy {
  const pick = <Key extends keyof ToolPolicy>(key: Key): ToolPolicy[Key] =>
    nearestFirst.map((file) => file[key]).find((value) => value !== undefined) ?? policyDefaults[key];
  return {
    timeoutMs: pick('timeoutMs'),
    resultBytesMax: pick('resultBytesMax'),
    ratePerMinute: pick('ratePerMinute'),
    idempotent: pick('idempotent'),
    confirm: pick('confirm'),
  };
}
