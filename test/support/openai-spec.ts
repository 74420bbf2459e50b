import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { createParser } from 'eventsource-parser';
import { parse } from 'yaml';

type Json = unknown;
type JsonObject = Readonly<Record<string, Json>>;

/** Where OpenAI's published description of its API lies, when someone has put it there. */
export const openAiSpecPath =
  process.env['USHER_OPENAI_SPEC'] ??
  fileURLToPath(new URL('../../../shared/specs/openai-openapi.yaml', import.meta.url));

export const hasOpenAiSpec = existsSync(openAiSpecPath);

/** One answer or stream event that is not what the description says. */
export interface Violation {
  readonly request: string;
  readonly what: string;
  readonly errors: string;
}

export interface OpenAiSpec {
  /** `fetch` that holds every answer and every stream event against the description. */
  readonly fetch: typeof fetch;
  /** What did not hold since it was last asked, each once; waits for streams that are still read. */
  violations(): Promise<readonly Violation[]>;
  /** How often each schema was checked: a test that checks nothing must not pass. */
  readonly checked: ReadonlyMap<string, number>;
}

/** Reads the description; about two seconds. */
export function openOpenAiSpec(path: string = openAiSpecPath): OpenAiSpec {
  const spec = parse(readFileSync(path, 'utf8'), { maxAliasCount: -1 }) as JsonObject;
  return new SpecCheck(spec);
}

class SpecCheck implements OpenAiSpec {
  readonly checked = new Map<string, number>();
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  readonly #spec: JsonObject;
  readonly #violations: Violation[] = [];
  readonly #pending: Promise<void>[] = [];
  readonly #validators = new Map<string, ValidateFunction>();

  constructor(spec: JsonObject) {
    this.#spec = spec;
    const { schemas } = spec['components'] as { schemas: Record<string, Json> };
    for (const [name, mend] of Object.entries(mends)) schemas[name] = mend(schemas[name] as JsonObject);
    const converted = new Converter(schemas).convert(schemas);
    this.#ajv.addSchema({ $id: 'openai', components: { schemas: converted } });
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const { pathname } = new URL(input instanceof Request ? input.url : input);
    const method = (init?.method ?? 'GET').toLowerCase();
    this.#pending.push(this.#checkAnswer(method, pathname.replace(/^\/v1/, ''), response.clone()));
    return response;
  };

  async violations(): Promise<readonly Violation[]> {
    await Promise.all(this.#pending.splice(0));
    const found = this.#violations.splice(0);
    return [...new Map(found.map((violation) => [`${violation.what} ${violation.errors}`, violation])).values()];
  }

  async #checkAnswer(method: string, path: string, response: Response): Promise<void> {
    const request = `${method} ${path}`;
    if (response.headers.get('content-type')?.startsWith('text/event-stream') === true) {
      return this.#checkStream(request, path, response);
    }
    const body: Json = await response.json();
    if (response.status >= 400) return this.#check(request, 'ErrorResponse', body);
    const schema = this.#answerSchema(method, path);
    if (schema === undefined) return this.#violate(request, 'operation', 'the description has none like it');
    if (schema !== 'none') this.#check(request, schema, body);
  }

  async #checkStream(request: string, path: string, response: Response): Promise<void> {
    const isChat = path.startsWith('/chat');
    const parser = createParser({
      onEvent: ({ event, data }) => {
        if (data === '[DONE]') return;
        const body = JSON.parse(data) as JsonObject;
        if (isChat) return this.#check(request, 'error' in body ? 'ErrorResponse' : chunkSchema, body);
        if (event !== body['type']) this.#violate(request, `event ${event}`, 'is not the type of its data');
        this.#check(request, 'ResponseStreamEvent', body);
      },
    });
    try {
      for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) parser.feed(chunk);
    } catch {
      // A stream that was broken off: what came of it was checked.
    }
  }

  /** The name of the schema with which the description answers; `none` where it says nothing of the body. */
  #answerSchema(method: string, path: string): string | undefined {
    const paths = this.#spec['paths'] as Readonly<Record<string, JsonObject>>;
    for (const [template, operations] of Object.entries(paths)) {
      if (!new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path) || !(method in operations)) continue;
      const { responses } = operations[method] as { responses: Record<string, JsonObject> };
      const content = responses['200']?.['content'] as Record<string, { schema: { $ref: string } }> | undefined;
      return content?.['application/json']?.schema.$ref.split('/').at(-1) ?? 'none';
    }
    return undefined;
  }

  #check(request: string, schema: string, body: Json): void {
    this.checked.set(schema, (this.checked.get(schema) ?? 0) + 1);
    const validate =
      this.#validators.get(schema) ?? this.#ajv.compile({ $ref: `openai#/components/schemas/${schema}` });
    this.#validators.set(schema, validate);
    if (validate(body)) return;
    const type = (body as JsonObject)['type'];
    this.#violate(
      request,
      typeof type === 'string' ? `${schema} ${type}` : schema,
      this.#ajv.errorsText(validate.errors?.slice(0, 12), { separator: '\n' }),
    );
  }

  #violate(request: string, what: string, errors: string): void {
    this.#violations.push({ request, what, errors });
  }
}

const chunkSchema = 'CreateChatCompletionStreamResponse';

/** Where the description contradicts the types of OpenAI's own client, the client wins: it is what callers run. */
const mends: Readonly<Record<string, (schema: JsonObject) => JsonObject>> = {
  // Its messages are those of answers alone, while its own example shows what the user said.
  ChatCompletionMessageList: (schema) => {
    const message = { type: 'object', required: ['id', 'role', 'content'], properties: { id: { type: 'string' } } };
    const { properties } = schema as { properties: JsonObject };
    return { ...schema, properties: { ...properties, data: { type: 'array', items: message } } };
  },
};

/**
 * OpenAPI's words as JSON Schema has them: `nullable` becomes a type, and a union whose branches
 * are told apart by `type` picks its branch by it, since a wrong branch could let anything pass.
 */
class Converter {
  readonly #schemas: Readonly<Record<string, Json>>;

  constructor(schemas: Readonly<Record<string, Json>>) {
    this.#schemas = schemas;
  }

  convert(value: Json): Json {
    if (Array.isArray(value)) return value.map((each) => this.convert(each));
    if (typeof value !== 'object' || value === null) return value;
    const { nullable, discriminator: _, oneOf, ...rest } = value as Record<string, Json>;
    const branches = (oneOf ?? rest['anyOf']) as readonly Json[] | undefined;
    delete rest['anyOf'];
    const schema: Record<string, Json> = {};
    for (const [key, each] of Object.entries(rest)) schema[key] = this.convert(each);
    if (Array.isArray(branches)) Object.assign(schema, this.#union(branches));
    return nullable === true ? { anyOf: [schema, { type: 'null' }] } : schema;
  }

  #union(branches: readonly Json[]): JsonObject {
    const anyOf = branches.map((branch) => this.convert(branch));
    const byType = new Map<string, Json[]>();
    for (const [index, branch] of branches.entries()) {
      if ((branch as JsonObject)['type'] === 'null') continue;
      const types = this.#typesOf(branch);
      if (types.length === 0) return { anyOf };
      for (const type of types) byType.set(type, [...(byType.get(type) ?? []), anyOf[index]]);
    }
    const chosen = [...byType].map(([type, those]) => ({
      if: { type: 'object', properties: { type: { const: type } }, required: ['type'] },
      // oxlint-disable-next-line unicorn/no-thenable -- a word of JSON Schema
      then: those.length === 1 ? those[0] : { anyOf: those },
    }));
    const known = { type: 'object', properties: { type: { enum: [...byType.keys()] } } };
    const allowed = branches.some((branch) => this.#allowsNull(branch)) ? { anyOf: [{ type: 'null' }, known] } : known;
    return { allOf: [...chosen, allowed] };
  }

  #allowsNull(schema: Json): boolean {
    const { $ref, type, nullable, anyOf, oneOf } = schema as {
      $ref?: string;
      type?: Json;
      nullable?: boolean;
      anyOf?: readonly Json[];
      oneOf?: readonly Json[];
    };
    if ($ref !== undefined) return this.#allowsNull(this.#schemas[$ref.split('/').at(-1) ?? '']);
    if (type === 'null' || nullable === true) return true;
    return (anyOf ?? oneOf ?? []).some((part) => this.#allowsNull(part));
  }

  /** The values that a schema's property `type` may have; none where it does not say. */
  #typesOf(schema: Json): readonly string[] {
    const { $ref, allOf, anyOf, oneOf, properties } = schema as {
      $ref?: string;
      allOf?: readonly Json[];
      anyOf?: readonly Json[];
      oneOf?: readonly Json[];
      properties?: { type?: { enum?: readonly string[]; const?: string } };
    };
    if ($ref !== undefined) return this.#typesOf(this.#schemas[$ref.split('/').at(-1) ?? '']);
    if (allOf !== undefined) return allOf.flatMap((part) => this.#typesOf(part));
    const union = anyOf ?? oneOf;
    if (union !== undefined) {
      const each = union.map((part) => this.#typesOf(part));
      return each.every((types) => types.length > 0) ? each.flat() : [];
    }
    const type = properties?.type;
    return type?.enum ?? (type?.const === undefined ? [] : [type.const]);
  }
}
