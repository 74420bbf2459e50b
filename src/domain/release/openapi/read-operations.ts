import { nearestWord } from '#base';
import { pathArguments, policyOf, sentPath, type OpenApiToolFile, type PolicyFile } from '../tool-schema.ts';
import { sourceToolName } from '../tool-name.ts';
import type { ArgumentPlace, HttpTool } from '../tool-spec.ts';
import { dereferenced, isObject, type JsonObject } from './json-pointer.ts';
import { PortableSchemas } from './portable-schema.ts';

/** What is wrong with a declaration or its document, at a key of the declaration. */
export interface ToolProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

type Read<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly ToolProblem[] };

interface Operation {
  readonly id: string;
  readonly method: HttpTool['method'];
  readonly path: string;
  /** The path's own keys: parameters that all its operations share. */
  readonly shared: JsonObject;
  readonly body: JsonObject;
}

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;
const descriptionCharactersMax = 1024;
const listedMax = 20;

/** The operations of `document` that `file` allows, as tools. Nothing is offered that is not named. */
export function readOperations(file: OpenApiToolFile, document: unknown): Read<readonly HttpTool[]> {
  const refuse = (key: string, message: string): Read<never> => ({
    ok: false,
    problems: [{ path: [key], message: `"${key}" ${message}` }],
  });
  if (!isObject(document) || !/^3\.[01]\./.test(`${String(document['openapi'])}.`)) {
    return refuse('document', 'is not an OpenAPI document of version 3.0 or 3.1; convert it to one of these');
  }
  const operations = operationsOf(document);
  const ids = [...operations.keys()];
  const known = ids.length === 0 ? 'none; give its operations an operationId' : listed(ids);
  if (file.operations === undefined || file.operations.length === 0) {
    return refuse('operations', `names none, so the model could use none; the document has ${known}`);
  }
  const base = baseOf(file, document);
  if (base === undefined) {
    return refuse(
      'server',
      'is needed, since the document names no server with a whole address; give the base address of the service',
    );
  }
  const problems: ToolProblem[] = [];
  const tools = file.operations.flatMap((entry, index) => {
    const { id, ...own } = typeof entry === 'string' ? { id: entry } : entry;
    const complain = (message: string): void => void problems.push({ path: ['operations', index], message });
    const operation = operations.get(id);
    if (operation === undefined) {
      const nearest = nearestWord(id, ids);
      complain(
        `the document has no operation "${id}"; ${nearest === undefined ? `it has ${known}` : `did you mean "${nearest}"?`}`,
      );
      return [];
    }
    return [toolOf({ file, document, base, operation, own, complain })];
  });
  const names = new Set<string>();
  for (const [index, { name }] of tools.entries()) {
    if (names.has(name))
      problems.push({ path: ['operations', index], message: 'this operation stands twice; name each once' });
    names.add(name);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, value: tools };
}

function listed(ids: readonly string[]): string {
  const rest = ids.length - listedMax;
  return `${ids.slice(0, listedMax).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}

function operationsOf(document: JsonObject): ReadonlyMap<string, Operation> {
  const found = new Map<string, Operation>();
  const paths = isObject(document['paths']) ? document['paths'] : {};
  for (const [path, item] of Object.entries(paths)) {
    const shared = dereferenced(document, item);
    if (shared === undefined) continue;
    for (const method of methods) {
      const body = shared[method.toLowerCase()];
      if (!isObject(body) || typeof body['operationId'] !== 'string') continue;
      found.set(body['operationId'], { id: body['operationId'], method, path, shared, body });
    }
  }
  return found;
}

/** `https://api.example.com/v1` as origin and path without a slash at its end. */
function baseOf(file: OpenApiToolFile, document: JsonObject): { origin: string; path: string } | undefined {
  const [first] = Array.isArray(document['servers']) ? (document['servers'] as unknown[]) : [];
  const named = isObject(first) && typeof first['url'] === 'string' ? first['url'] : '';
  const url = URL.parse(file.server ?? named);
  if (url === null || !/^https?:$/.test(url.protocol) || /[{}@]|%7b/i.test(url.href) || url.search !== '')
    return undefined;
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, '') };
}

interface ToolParts {
  readonly file: OpenApiToolFile;
  readonly document: JsonObject;
  readonly base: { readonly origin: string; readonly path: string };
  readonly operation: Operation;
  readonly own: PolicyFile & { readonly description?: string | undefined };
  readonly complain: (message: string) => void;
}

function toolOf({ file, document, base, operation, own, complain }: ToolParts): HttpTool {
  const schemas = new PortableSchemas(document);
  const fields = [
    ...parametersOf(document, operation, schemas, complain),
    ...bodyOf(document, operation, schemas, complain),
  ];
  for (const reference of schemas.broken)
    complain(`operation "${operation.id}" refers to ${reference}, which is not in the document; put it in`);
  if (/[?#\\]|\/\.{1,2}(?:\/|$)/.test(operation.path)) {
    complain(`operation "${operation.id}" has a path with ?, # or dot segments; leave the operation out`);
  }
  const inPath = pathArguments(operation.path);
  const described = fields.filter(({ place }) => place.in === 'path').map(({ name }) => name);
  const alone = [...inPath, ...described].filter((name) => !inPath.includes(name) || !described.includes(name));
  for (const name of alone) {
    complain(`operation "${operation.id}": the path and its parameters differ in {${name}}; correct the document`);
  }
  const defs = schemas.defs;
  const description = own.description ?? descriptionOf(operation.body);
  return {
    kind: 'http',
    name: sourceToolName(file.label, operation.id),
    source: file.label,
    ...(description === '' ? {} : { description }),
    parameters: {
      type: 'object',
      properties: Object.fromEntries(fields.map(({ name, schema }) => [name, schema])),
      required: fields.filter(({ required }) => required).map(({ name }) => name),
      additionalProperties: false,
      ...(defs === undefined ? {} : { $defs: defs }),
    },
    method: operation.method,
    origin: base.origin,
    path: sentPath(`${base.path}${operation.path.startsWith('/') ? '' : '/'}${operation.path}`),
    places: Object.fromEntries(fields.map(({ name, place }) => [name, place])),
    headers: file.headers,
    authorisation: file.authorisation,
    ...(file.credential === undefined ? {} : { credential: file.credential }),
    policy: policyOf(own, file),
  };
}

function descriptionOf(operation: JsonObject): string {
  const texts = [operation['summary'], operation['description']].filter((text) => typeof text === 'string');
  return [...new Set(texts.map((text) => text.trim()))]
    .filter((text) => text !== '')
    .join('\n\n')
    .slice(0, descriptionCharactersMax);
}

interface Field {
  readonly name: string;
  readonly schema: unknown;
  readonly required: boolean;
  readonly place: ArgumentPlace;
}

/** An operation's own parameter wins over the path's of the same name and place. */
function parametersOf(
  document: JsonObject,
  operation: Operation,
  schemas: PortableSchemas,
  complain: (message: string) => void,
): Field[] {
  const lists = [operation.shared['parameters'], operation.body['parameters']];
  const all = lists.flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []));
  const byPlace = new Map<string, JsonObject>();
  for (const each of all) {
    const parameter = dereferenced(document, each);
    if (parameter !== undefined) byPlace.set(`${String(parameter['in'])} ${String(parameter['name'])}`, parameter);
  }
  const fields = [...byPlace.values()].flatMap((parameter) => {
    const name = String(parameter['name']);
    const required = parameter['required'] === true || parameter['in'] === 'path';
    const place = placeOf(parameter);
    if (place === undefined) {
      // One that may be left out is left out; the operation works without.
      if (required)
        complain(
          `operation "${operation.id}" needs the ${String(parameter['in'])} parameter "${name}" in a form that is not supported; leave the operation out`,
        );
      return [];
    }
    return [{ name, required, place, schema: describedSchema(parameter, schemas) }];
  });
  const names = fields.map(({ name }) => name);
  for (const name of new Set(names.filter((each, at) => names.indexOf(each) !== at))) {
    complain(`operation "${operation.id}" has two parameters "${name}"; leave the operation out`);
  }
  return fields;
}

function placeOf({ in: where, style, explode, content }: JsonObject): ArgumentPlace | undefined {
  if (content !== undefined) return undefined;
  if (where === 'path') return style === undefined || style === 'simple' ? { in: 'path' } : undefined;
  if (where !== 'query' || (style !== undefined && style !== 'form')) return undefined;
  return { in: 'query', joined: explode === false };
}

function describedSchema(parameter: JsonObject, schemas: PortableSchemas): unknown {
  const schema = schemas.carry(parameter['schema'] ?? {});
  if (typeof parameter['description'] !== 'string' || !isObject(schema)) return schema;
  return { ...schema, description: parameter['description'].slice(0, descriptionCharactersMax) };
}

/** The JSON body as one argument `body`. */
function bodyOf(
  document: JsonObject,
  operation: Operation,
  schemas: PortableSchemas,
  complain: (message: string) => void,
): Field[] {
  if (operation.body['requestBody'] === undefined) return [];
  const body = dereferenced(document, operation.body['requestBody']);
  const content = isObject(body?.['content']) ? body['content'] : {};
  const [, json] =
    Object.entries(content).find(([type]) => /^application\/(?:[\w.-]+\+)?json\b|^\*\/\*$/i.test(type)) ?? [];
  const required = body?.['required'] === true;
  if (!isObject(json)) {
    if (required) complain(`operation "${operation.id}" takes a body that is not JSON; leave the operation out`);
    return [];
  }
  return [{ name: 'body', required, schema: schemas.carry(json['schema'] ?? {}), place: { in: 'whole_body' } }];
}
