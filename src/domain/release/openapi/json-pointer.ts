export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What `#/a/b~1c` points to within the document; undefined where nothing does, or where it leaves the document. */
export function pointed(document: JsonObject, reference: string): unknown {
  if (!reference.startsWith('#/')) return undefined;
  let value: unknown = document;
  for (const step of reference.slice(2).split('/')) {
    const key = decodeStep(step);
    if (key === undefined || typeof value !== 'object' || value === null || !Object.hasOwn(value, key))
      return undefined;
    value = (value as JsonObject)[key];
  }
  return value;
}

function decodeStep(step: string): string | undefined {
  try {
    return decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
  } catch {
    return undefined;
  }
}

const hopsMax = 16;

/** Follows `$ref` of parameters and bodies until a thing itself is there. */
export function dereferenced(document: JsonObject, value: unknown): JsonObject | undefined {
  let found = value;
  for (let hop = 0; hop < hopsMax; hop += 1) {
    if (!isObject(found)) return undefined;
    if (typeof found['$ref'] !== 'string') return found;
    found = pointed(document, found['$ref']);
  }
  return undefined;
}
