import { isObject, pointed, type JsonObject } from './json-pointer.ts';

/** Annotations that tell a model nothing, and may be long. */
const leftOut = new Set(['example', 'examples', 'xml', 'externalDocs', 'discriminator', 'deprecated', 'nullable']);

/**
 * Carries schemas out of an OpenAPI document: what they refer to comes along under `$defs`, and the
 * words of OpenAPI 3.0 become those of JSON Schema 2020-12.
 */
export class PortableSchemas {
  readonly #document: JsonObject;
  readonly #defs = new Map<string, unknown>();
  /** References that lead nowhere. */
  readonly broken = new Set<string>();

  constructor(document: JsonObject) {
    this.#document = document;
  }

  carry(schema: unknown): unknown {
    if (!isObject(schema)) return typeof schema === 'boolean' ? schema : {};
    if (typeof schema['$ref'] === 'string')
      return { ...this.#carryKeys(schema), $ref: this.#carryReference(schema['$ref']) };
    return this.#carryKeys(schema);
  }

  /** Everything that was referred to so far. */
  get defs(): JsonObject | undefined {
    return this.#defs.size === 0 ? undefined : Object.fromEntries(this.#defs);
  }

  #carryReference(reference: string): string {
    const name = reference.replace(/^#\//, '').replaceAll(/[^A-Za-z0-9_.-]/g, '.');
    if (!this.#defs.has(name)) {
      const target = pointed(this.#document, reference);
      if (target === undefined) this.broken.add(reference);
      // Set before it is carried: a schema may refer to itself.
      this.#defs.set(name, true);
      this.#defs.set(name, this.carry(target ?? true));
    }
    return `#/$defs/${name}`;
  }

  #carryKeys(schema: JsonObject): JsonObject {
    const carried: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(schema)) {
      if (leftOut.has(key) || key.startsWith('x-') || key.startsWith('$')) continue;
      carried[key] = this.#carryValue(key, value);
    }
    return withNewerWords(carried, schema);
  }

  #carryValue(key: string, value: unknown): unknown {
    switch (key) {
      case 'properties':
      case 'patternProperties':
      case 'dependentSchemas':
        return isObject(value)
          ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, this.carry(inner)]))
          : {};
      case 'allOf':
      case 'anyOf':
      case 'oneOf':
      case 'prefixItems':
        return Array.isArray(value) ? value.map((inner) => this.carry(inner)) : [];
      case 'items':
      case 'additionalProperties':
      case 'unevaluatedProperties':
      case 'propertyNames':
      case 'contains':
      case 'not':
      case 'if':
      case 'then':
      case 'else':
        return this.carry(value);
      default:
        return value;
    }
  }
}

/** `nullable` and yes-or-no bounds are words of 3.0 alone. */
function withNewerWords(carried: Record<string, unknown>, schema: JsonObject): JsonObject {
  for (const [bound, limit] of [
    ['exclusiveMinimum', 'minimum'],
    ['exclusiveMaximum', 'maximum'],
  ] as const) {
    if (typeof carried[bound] !== 'boolean') continue;
    const exclusive = carried[bound];
    delete carried[bound];
    if (exclusive && carried[limit] !== undefined) {
      carried[bound] = carried[limit];
      delete carried[limit];
    }
  }
  if (schema['nullable'] !== true) return carried;
  if (Array.isArray(carried['enum'])) carried['enum'] = [...(carried['enum'] as unknown[]), null];
  if (typeof carried['type'] === 'string') return { ...carried, type: [carried['type'], 'null'] };
  return { anyOf: [carried, { type: 'null' }] };
}
