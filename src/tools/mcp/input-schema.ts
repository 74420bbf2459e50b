import { openArgumentCheck } from '#release';

const schemaCharactersMax = 32_768;
/** A pattern of somebody else's can take a processor for ever; the server checks its own. */
const leftToServer = new Set(['pattern', 'patternProperties', 'format', '$schema', '$id']);

/** A server's input schema as it may be checked with and shown to a model; undefined where it may not. */
export function portableInputSchema(schema: object): object | undefined {
  const text = JSON.stringify(schema, (key, value: unknown) =>
    leftToServer.has(key) && isKeyword(value, key) ? undefined : value,
  );
  if (text.length > schemaCharactersMax) return undefined;
  try {
    const portable = JSON.parse(text) as object;
    openArgumentCheck(portable);
    return portable;
  } catch {
    return undefined;
  }
}

/** An argument may be called `pattern` too; then it holds a schema and not the keyword's own value. */
function isKeyword(value: unknown, key: string): boolean {
  return key === 'patternProperties' || typeof value === 'string';
}
