/** The part of JSON Schema that our schemas use. */
export interface JsonSchema {
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, JsonSchema>>;
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: JsonSchema | boolean;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
}

/** The second line of every generated page. */
export const generated = '<!-- Generated from the source by `npm run docs`: edit the schema, not this page. -->';

/** A table of the keys of an object, then a section for each key that holds an object itself. */
export function keysOf(schema: JsonSchema, path: string, level: number): string[] {
  const heading = path === '' ? [] : [`${'#'.repeat(Math.min(level, 6))} ${path}`];
  const text = schema.description === undefined || path === '' ? [] : [schema.description];
  const entries = Object.entries(schema.properties ?? {});
  const rows = entries.map(([name, inner]) => [
    `\`${name}\`${schema.required?.includes(name) === true ? ' (needed)' : ''}`,
    typeText(inner),
    meaningOf(inner),
    defaultText(inner),
  ]);
  const own = rows.length === 0 ? [] : [table(['key', 'value', 'meaning', 'default'], rows)];
  const below = entries.flatMap(([name, inner]) => sectionsOf(inner, path === '' ? name : `${path}.${name}`, level));
  return [...heading, ...text, ...own, ...below];
}

/** A field that may be null is described within. */
function meaningOf(schema: JsonSchema): string {
  return schema.description ?? schema.anyOf?.find(({ description }) => description !== undefined)?.description ?? '';
}

/** Sections for the keys of what lies within `schema`; a shape of its own has its section elsewhere. */
export function sectionsOf(schema: JsonSchema, path: string, level: number): string[] {
  if (schema.items !== undefined) return sectionsOf(describedBy(schema, schema.items), `${path}[]`, level);
  if (schema.properties !== undefined) return keysOf(schema, path, level);
  if (typeof schema.additionalProperties === 'object') {
    return sectionsOf(describedBy(schema, schema.additionalProperties), `${path}.<name>`, level);
  }
  const branches = schema.oneOf ?? schema.anyOf ?? [];
  return branches.flatMap((branch) => sectionsOf(branch, `${path}${kindOf(branch)}`, level));
}

function describedBy(outer: JsonSchema, inner: JsonSchema): JsonSchema {
  return inner.description === undefined && outer.description !== undefined
    ? { ...inner, description: outer.description }
    : inner;
}

/** The key that tells the branches of a union apart, with its values. */
function kindOf(branch: JsonSchema): string {
  for (const name of ['kind', 'type', 'role']) {
    const { const: value, enum: values = value === undefined ? [] : [value] } = branch.properties?.[name] ?? {};
    if (values.length > 0) return ` (${name}: ${values.join(', ')})`;
  }
  return '';
}

function typeText(schema: JsonSchema): string {
  if (schema.$ref !== undefined) return linkTo(schema.$ref.split('/').at(-1) ?? '');
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${JSON.stringify(value)}\``).join(', ');
  const branches = (schema.oneOf ?? schema.anyOf)?.filter(({ type }) => type !== 'null');
  if (branches !== undefined) return [...new Set(branches.map((branch) => typeText(branch)))].join(' or ');
  if (schema.items !== undefined)
    return `list${schema.maxItems === undefined ? '' : ` (at most ${schema.maxItems})`} of ${typeText(schema.items)}`;
  const words: Readonly<Record<string, string>> = {
    string: 'text',
    integer: 'whole number',
    number: 'number',
    boolean: 'true or false',
    object: 'keys',
  };
  const type = [schema.type].flat().find((each) => each !== 'null');
  const word = words[String(type)] ?? String(type);
  return `${word}${rangeText(schema)}${schema.maxLength === undefined ? '' : `, at most ${schema.maxLength} characters`}`;
}

function linkTo(shape: string): string {
  return `[${shape}](#${shape})`;
}

function rangeText({ type, minimum, maximum, exclusiveMinimum }: JsonSchema): string {
  if (type !== 'integer' && type !== 'number') return '';
  const from = exclusiveMinimum === undefined ? minimum : `above ${exclusiveMinimum}`;
  // The bounds of a safe integer say nothing to a person.
  const known = [from, maximum].map((bound) =>
    typeof bound === 'number' && Math.abs(bound) === Number.MAX_SAFE_INTEGER ? undefined : bound,
  );
  if (known[0] !== undefined && known[1] !== undefined) return `, ${known[0]} to ${known[1]}`;
  if (known[0] !== undefined) return exclusiveMinimum === undefined ? `, ${known[0]} or more` : `, ${known[0]}`;
  return known[1] === undefined ? '' : `, ${known[1]} or less`;
}

function defaultText({ default: value }: JsonSchema): string {
  const telling = value !== undefined && !(typeof value === 'object' && Object.keys(value ?? {}).length === 0);
  return telling ? `\`${JSON.stringify(value)}\`` : '';
}

/** A Markdown table; cells may hold bars and line ends. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map((row) => line(row))].join('\n');
}

export function page(blocks: readonly string[]): string {
  return `${blocks.join('\n\n')}\n`;
}
