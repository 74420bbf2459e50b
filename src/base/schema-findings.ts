import type { z } from 'zod';
import { nearestWord } from './nearest-word.ts';

export type Path = readonly (string | number)[];

/** What a schema found wrong, in words, at a path of the data. */
export interface Finding {
  readonly path: Path;
  /** Whether the key itself is wrong (unknown) or its value. */
  readonly at: 'key' | 'value';
  readonly message: string;
  readonly expected?: string;
  readonly nearest?: string;
  /** The value must not be shown. */
  readonly secret?: boolean;
}

type Issue = z.core.$ZodIssue;

/** How the writer knows the data: a person who wrote YAML has no objects and counts from 1, a program has both otherwise. */
export interface DataWords {
  /** Where a value stands: `"temperature"`. */
  readonly place: (path: Path) => string;
  /** Names of zod's types. */
  readonly types: Readonly<Record<string, string>>;
}

const fileWords: DataWords = {
  place: placeInFile,
  types: { string: 'text', object: 'a group of keys', null: 'empty' },
};

const findingsMax = 50;

/** Parses `data`; what is wrong is told in sentences that name the field, what was expected and the nearest word. */
export function checkAgainst<T>(
  schema: z.ZodType<T>,
  data: unknown,
  words: DataWords = fileWords,
): { readonly ok: true; readonly value: T } | { readonly ok: false; readonly findings: readonly Finding[] } {
  const result = schema.safeParse(data, { error: (issue) => describeIssue(issue, words), reportInput: true });
  if (result.success) return { ok: true, value: result.data };
  const findings = firstOf(result.error.issues).flatMap((issue) => findingsOf(issue, [], schema, words));
  return { ok: false, findings: firstOf(findings) };
}

/** Nobody reads more, and a program can send tens of thousands of wrong values at once. */
function firstOf<T>(found: readonly T[]): readonly T[] {
  return found.length > findingsMax ? found.slice(0, findingsMax) : found;
}

function findingsOf(issue: Issue, above: Path, schema: z.ZodType, words: DataWords): Finding[] {
  const path = [...above, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  switch (issue.code) {
    case 'unrecognized_keys':
      return unknownKeys(issue, path, schema);
    case 'invalid_union':
      return unionFindings(issue, path, schema, words);
    case 'invalid_key':
      return [valueFinding(path, issue.issues[0]?.message ?? 'must be another name', words, { at: 'key' })];
    case 'invalid_element':
      return issue.issues.flatMap((inner) => findingsOf(inner, path, schema, words));
    case 'invalid_value':
      return [choiceFinding(path, issue.message, issue.values, issue.input, words)];
    case 'custom':
      return [valueFinding(path, issue.message, words, customDetails(issue.params))];
    case 'invalid_type':
      return [valueFinding(path, issue.message, words, { expected: typeWord(issue.expected, words) })];
    default:
      return [valueFinding(path, issue.message, words)];
  }
}

function unknownKeys(
  issue: Extract<Issue, { readonly code: 'unrecognized_keys' }>,
  path: Path,
  schema: z.ZodType,
): Finding[] {
  const known = keysAt(schema, path, issue.input);
  return issue.keys.slice(0, findingsMax).map((key) => unknownKey(key, path, known));
}

function unknownKey(key: string, path: Path, known: readonly string[]): Finding {
  const nearest = nearestWord(key, known);
  const where = path.length === 0 ? '' : ` in ${placeInFile(path)}`;
  const hint =
    nearest !== undefined
      ? `; did you mean "${nearest}"?`
      : known.length > 0
        ? `; known here: ${known.slice(0, 20).join(', ')}`
        : '';
  const message = `unknown key "${shown(key)}"${nearest === undefined ? where : ''}${hint}`;
  return {
    path: [...path, key],
    at: 'key',
    message,
    ...(known.length > 0 ? { expected: known.join(', ') } : {}),
    ...(nearest === undefined ? {} : { nearest }),
  };
}

function valueFinding(path: Path, message: string, words: DataWords, details: Partial<Finding> = {}): Finding {
  // A text that begins with "must" lacks its subject.
  const sentence = message.startsWith('must ') ? `${words.place(path)} ${message}` : message;
  return { path, at: 'value', ...details, message: sentence };
}

function choiceFinding(
  path: Path,
  message: string,
  values: readonly unknown[],
  input: unknown,
  words: DataWords,
): Finding {
  const nearest = typeof input === 'string' ? nearestWord(input, values.map(String)) : undefined;
  const hint = nearest === undefined ? '' : `; did you mean "${nearest}"?`;
  return valueFinding(path, `${message}${hint}`, words, {
    expected: listed(values),
    ...(nearest === undefined ? {} : { nearest }),
  });
}

function customDetails(params: Readonly<Record<string, unknown>> | undefined): Partial<Finding> {
  return {
    ...(typeof params?.['expected'] === 'string' ? { expected: params['expected'] } : {}),
    ...(typeof params?.['nearest'] === 'string' ? { nearest: params['nearest'] } : {}),
    ...(params?.['secret'] === true ? { secret: true } : {}),
  };
}

/**
 * Of a union, the branch that the writer most likely meant: one whose outer shape fits, with the
 * fewest findings. Where no branch fits even in shape, one finding names all shapes.
 */
function unionFindings(
  issue: Extract<Issue, { readonly code: 'invalid_union' }>,
  path: Path,
  schema: z.ZodType,
  words: DataWords,
): Finding[] {
  const options = 'options' in issue ? issue.options : undefined;
  if (options !== undefined) return [choiceFinding(path, `must be ${listed(options)}`, options, valueAt(issue), words)];
  const branches = issue.errors.map((issues) => firstOf(issues).flatMap((inner) => flattenUnion(inner)));
  const fitting = branches
    .filter((issues) => !issues.some((inner) => inner.path.length === 0 && isShape(inner)))
    .toSorted((a, b) => a.length - b.length);
  const best = fitting[0];
  if (best !== undefined) return firstOf(best).flatMap((inner) => findingsOf(inner, path, schema, words));
  const values = branches.flat().flatMap((inner) => (inner.code === 'invalid_value' ? inner.values : []));
  const types = branches
    .flat()
    .flatMap((inner) => (inner.code === 'invalid_type' ? [typeWord(inner.expected, words)] : []));
  const expected = alternatives([...new Set([...values.map((value) => JSON.stringify(value)), ...types])]);
  if (expected === 'nothing') return [valueFinding(path, issue.message, words)];
  const demand = issue.input === undefined ? `must be given: ${expected}` : `must be ${expected}`;
  return [{ ...choiceFinding(path, demand, values, issue.input, words), expected }];
}

function valueAt(issue: Extract<Issue, { readonly code: 'invalid_union' }>): unknown {
  const { input } = issue;
  const key = 'discriminator' in issue ? issue.discriminator : undefined;
  return typeof input === 'object' && input !== null && key !== undefined ? Reflect.get(input, key) : input;
}

/** A union within a union whose branches all fail at its root counts as those failures. */
function flattenUnion(issue: Issue): Issue[] {
  if (issue.code !== 'invalid_union' || issue.path.length > 0) return [issue];
  return issue.errors.flat().flatMap((inner) => flattenUnion(inner));
}

function isShape(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

/** A sentence without its subject, for the issues whose schema has no text of its own. */
function describeIssue(issue: z.core.$ZodRawIssue, words: DataWords): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.expected === 'int' && typeof issue.input === 'number') return 'must be a whole number, not a fraction';
      // Text of a query that was to be one.
      if (Number.isNaN(issue.input)) return `must be ${typeWord(issue.expected, words)}`;
      if (issue.input === undefined) return `must be given: ${typeWord(issue.expected, words)}`;
      return `must be ${typeWord(issue.expected, words)}, not ${kindOf(issue.input, words)}`;
    case 'invalid_value':
      return `must be ${listed(issue.values)}`;
    case 'too_small':
      return `must ${bound(issue.origin, 'at least', issue.minimum, issue.inclusive !== false)}`;
    case 'too_big':
      return `must ${bound(issue.origin, 'at most', issue.maximum, issue.inclusive !== false)}`;
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}`;
    case 'invalid_format':
      return `must be ${formatWord(issue.format)}`;
    case 'invalid_union':
    case 'invalid_key':
    case 'invalid_element':
      return 'must have another form';
    default:
      return undefined;
  }
}

function bound(origin: string, word: string, limit: number | bigint, inclusive: boolean): string {
  const exact = inclusive ? `${word} ${limit}` : `${word === 'at least' ? 'more' : 'less'} than ${limit}`;
  switch (origin) {
    case 'string':
      return `have ${exact} ${limit === 1 ? 'character' : 'characters'}`;
    case 'array':
    case 'set':
    case 'map':
      return `have ${exact} ${limit === 1 ? 'entry' : 'entries'}`;
    default:
      return `be ${exact}`;
  }
}

const typeWords: Readonly<Record<string, string>> = {
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
};

function typeWord(expected: string, { types }: DataWords): string {
  const known = expected === 'record' || expected === 'map' ? 'object' : expected;
  return types[known] ?? typeWords[known] ?? expected;
}

const formatWords: Readonly<Record<string, string>> = {
  url: 'an address such as https://example.com',
  email: 'an e-mail address',
  regex: 'in another form',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
};

function formatWord(format: string): string {
  return formatWords[format] ?? `a valid ${format}`;
}

function kindOf(value: unknown, words: DataWords): string {
  if (value === null) return typeWord('null', words);
  if (Array.isArray(value)) return typeWord('array', words);
  if (typeof value === 'number') return Number.isInteger(value) ? 'a whole number' : 'a number';
  if (typeof value === 'boolean') return String(value);
  return typeWord(typeof value, words);
}

function listed(values: readonly unknown[]): string {
  return alternatives(values.flatMap((value) => (value === undefined ? [] : [JSON.stringify(value)])));
}

function alternatives(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? 'nothing') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`;
}

/** `"temperature"`, `item 2 of "origins"`, `"pool" of item 1 of "pools"`; `the file` at the root. */
function placeInFile(path: Path): string {
  const last = path.at(-1);
  if (last === undefined) return 'the file';
  const above = path.slice(0, -1);
  if (typeof last === 'number') return `item ${last + 1} of ${placeInFile(above)}`;
  const inItem = typeof above.at(-1) === 'number';
  return inItem ? `"${shown(last)}" of ${placeInFile(above)}` : `"${shown(last)}"`;
}

/** A word of the file as it may be printed in a message: short, on one line. */
export function shown(word: string): string {
  const oneLine = word.replaceAll(/[\p{Cc}\p{Cf}]/gu, '?');
  return oneLine.length > 60 ? `${oneLine.slice(0, 60)}…` : oneLine;
}

/** The keys that a schema knows at a path, of those union branches that the data there fits best. */
function keysAt(schema: z.core.$ZodType, path: Path, input: unknown): string[] {
  const objects = schemasAt(schema, path).flatMap((found) => objectShapes(found));
  const present = typeof input === 'object' && input !== null ? Object.keys(input) : [];
  const shared = (keys: readonly string[]): number => present.filter((key) => keys.includes(key)).length;
  const most = Math.max(0, ...objects.map((keys) => shared(keys)));
  return [...new Set(objects.filter((keys) => shared(keys) === most).flat())];
}

function schemasAt(schema: z.core.$ZodType, path: Path): z.core.$ZodType[] {
  let found = [schema];
  for (const step of path) found = found.flatMap((inner) => unwrap(inner)).flatMap((inner) => childOf(inner, step));
  return found.flatMap((inner) => unwrap(inner));
}

function definitionOf(schema: z.core.$ZodType): z.core.$ZodTypes['_zod']['def'] {
  const { _zod: internals } = schema as z.core.$ZodTypes;
  return internals.def;
}

function objectShapes(schema: z.core.$ZodType): string[][] {
  const def = definitionOf(schema);
  return def.type === 'object' ? [Object.keys(def.shape)] : [];
}

function childOf(schema: z.core.$ZodType, step: string | number): z.core.$ZodType[] {
  const def = definitionOf(schema);
  switch (def.type) {
    case 'object': {
      const child = def.shape[step];
      return child === undefined ? [] : [child];
    }
    case 'array':
      return [def.element];
    case 'record':
    case 'map':
      return [def.valueType];
    case 'tuple': {
      const item = typeof step === 'number' ? def.items[step] : undefined;
      return item === undefined ? [] : [item];
    }
    default:
      return [];
  }
}

/** What a schema checks its input with, below defaults, pipes and unions. */
function unwrap(schema: z.core.$ZodType): z.core.$ZodType[] {
  const def = definitionOf(schema);
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
      return unwrap(def.innerType);
    case 'pipe':
      return unwrap(def.in);
    case 'lazy':
      return unwrap(def.getter());
    case 'union':
      return def.options.flatMap((option) => unwrap(option));
    case 'intersection':
      return [def.left, def.right].flatMap((side) => unwrap(side));
    default:
      return [schema];
  }
}
