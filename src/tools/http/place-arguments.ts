import type { HttpTool } from '#release';
import type { Arguments } from '../runnable-tool.ts';
import { refusal } from '../tool-failure.ts';

/** Path and query, below what the tool declares, and the JSON body where there is one. */
export interface PlacedRequest {
  readonly path: string;
  readonly body: string | undefined;
}

const pathCharactersMax = 8192;

/**
 * Puts arguments where they belong. Whatever they are, the path stays below the declared one: a value
 * fills its place and never adds a step, a query or an end.
 *
 * @throws ToolFailure `refused`
 */
export function placeArguments({ path, places }: Pick<HttpTool, 'path' | 'places'>, given: Arguments): PlacedRequest {
  const query: string[] = [];
  const fields: [string, unknown][] = [];
  let whole: unknown;
  for (const [name, value] of Object.entries(given)) {
    const place = Object.hasOwn(places, name) ? places[name] : undefined;
    if (place === undefined) throw refusal(`This tool has no argument "${name}".`);
    if (place.in === 'query') query.push(...queryPairs(name, value, place.joined));
    else if (place.in === 'body') fields.push([name, value]);
    else if (place.in === 'whole_body') whole = value;
  }
  const filled = fillPath(path, given);
  const full = query.length === 0 ? filled : `${filled}${filled.includes('?') ? '&' : '?'}${query.join('&')}`;
  if (full.length > pathCharactersMax) throw refusal('The arguments are too long for an address. Send less.');
  const hasFields = Object.values(places).some((place) => place.in === 'body');
  const body = whole ?? (hasFields ? Object.fromEntries(fields) : undefined);
  return { path: full, body: body === undefined ? undefined : JSON.stringify(body) };
}

function fillPath(template: string, given: Arguments): string {
  return template.replaceAll(/\{([^{}]*)\}/g, (_, name: string) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    const text = plainText(value);
    if (text === undefined || !isOneStep(text)) {
      throw refusal(`The argument "${name}" must be a plain text or number without slashes, and neither "." nor "..".`);
    }
    return encoded(text, name);
  });
}

function plainText(value: unknown): string | undefined {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined;
}

const decodingsMax = 8;

/** Also after servers on the way have decoded it, once or more, or taken look-alikes for slashes and dots. */
function isOneStep(text: string): boolean {
  let left = text;
  for (let decoding = 0; decoding < decodingsMax; decoding += 1) {
    if (left === '' || /^\.{1,2}(?:;|$)|[/\\\p{Cc}]/u.test(left.normalize('NFKC'))) return false;
    const decoded = left.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) =>
      String.fromCodePoint(Number.parseInt(hex, 16)),
    );
    if (decoded === left) return true;
    left = decoded;
  }
  return false;
}

function queryPairs(name: string, value: unknown, joined: boolean): string[] {
  if (value === null || value === undefined) return [];
  const values: readonly unknown[] = Array.isArray(value) ? value : [value];
  const texts = values.map((each) => encoded(plainText(each) ?? JSON.stringify(each), name));
  const key = encoded(name, name);
  return joined ? [`${key}=${texts.join(',')}`] : texts.map((text) => `${key}=${text}`);
}

function encoded(text: string, name: string): string {
  if (!text.isWellFormed()) throw refusal(`The argument "${name}" holds half a character. Send it whole.`);
  return encodeURIComponent(text);
}
