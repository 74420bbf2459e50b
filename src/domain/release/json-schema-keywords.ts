import { formats } from './json-schema-formats.ts';

export type Table = Readonly<Record<string, unknown>>;

/** A sentence, made where it is told: a schema may hold far more than is ever said of it. */
export type Problem = () => string;

/** One value in front of one schema. */
export interface Visit {
  readonly schema: Table;
  /** The names and indexes that some keyword has looked at; undefined where none asks for them. */
  readonly seen: Set<string> | undefined;
  /** Before the work that it counts, so that none is done beyond the end. */
  spend(steps: number): void;
  fail(say: Problem): void;
  /** Passes on what was found further in. */
  tell(found: readonly Problem[]): void;
  /** What the same value lacks of another schema. */
  within(schema: unknown): readonly Problem[];
  /** What a value below this one lacks of a schema. */
  below(schema: unknown, name: string | number, held: unknown): readonly Problem[];
  target(reference: string): unknown;
  pattern(source: string): RegExp | undefined;
}

/** What a keyword asks of a value; an operand that is none of the keyword's asks nothing. */
type Keyword<Value> = (operand: unknown, here: Visit, value: Value) => void;
type Keywords<Value> = ReadonlyMap<string, Keyword<Value>>;

export function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(operand: unknown): readonly unknown[] {
  return Array.isArray(operand) ? operand : [];
}

function tableOf(operand: unknown): Table {
  return isTable(operand) ? operand : {};
}

/** Characters are cheaper to look at than schemas. */
function stepsOf(text: string): number {
  return 1 + (text.length >> 6);
}

/** What any value is held against. */
export const valueKeywords: Keywords<unknown> = new Map<string, Keyword<unknown>>([
  ['type', holdType],
  ['enum', holdEnum],
  [
    'const',
    (operand, here, value) => {
      if (!isSame(operand, value, here)) here.fail(() => `Instance does not match ${short(operand)}.`);
    },
  ],
  [
    '$ref',
    (operand, here) => {
      if (typeof operand === 'string') here.tell(here.within(here.target(operand)));
    },
  ],
  ['allOf', (operand, here) => listOf(operand).forEach((schema) => here.tell(here.within(schema)))],
  ['anyOf', (operand, here) => holdSome(operand, here, (holding) => holding > 0)],
  ['oneOf', (operand, here) => holdSome(operand, here, (holding) => holding === 1)],
  [
    'not',
    (operand, here) => {
      if (here.within(operand).length === 0) here.fail(() => 'Instance matched "not" schema.');
    },
  ],
  [
    'if',
    (operand, here) => {
      const next = here.within(operand).length === 0 ? here.schema['then'] : here.schema['else'];
      here.tell(here.within(next));
    },
  ],
]);

function holdType(operand: unknown, here: Visit, value: unknown): void {
  const types = Array.isArray(operand) ? operand : [operand];
  here.spend(types.length);
  const type = typeOf(value);
  if (types.includes(type) || (Number.isInteger(value) && types.includes('integer'))) return;
  here.fail(() => `Instance type "${type}" is invalid. Expected "${types.join('", "')}".`);
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function holdEnum(operand: unknown, here: Visit, value: unknown): void {
  if (listOf(operand).some((each) => isSame(each, value, here))) return;
  here.fail(() => `Instance does not match any of ${short(operand)}.`);
}

function holdSome(operand: unknown, here: Visit, isEnough: (holding: number) => boolean): void {
  const found = listOf(operand).map((schema) => here.within(schema));
  const holding = found.filter((problems) => problems.length === 0).length;
  if (isEnough(holding)) return;
  if (holding > 0) here.fail(() => `Instance does not match exactly one subschema (${holding} matches).`);
  else if (found.length === 0) here.fail(() => 'Instance does not match any subschemas.');
  else found.forEach((problems) => here.tell(problems));
}

const shownCharactersMax = 500;

function short(operand: unknown): string {
  const text = JSON.stringify(operand);
  return text.length > shownCharactersMax ? `${text.slice(0, shownCharactersMax)}…` : text;
}

function isSame(one: unknown, other: unknown, here: Visit): boolean {
  here.spend(typeof one === 'string' ? stepsOf(one) : 1);
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return one === other;
  return canonical(one, here) === canonical(other, here);
}

/** A text that two values share where they are the same, in whatever order their properties stand. */
function canonical(value: unknown, here: Visit): string {
  here.spend(typeof value === 'string' ? stepsOf(value) : 1);
  if (Array.isArray(value)) return `[${value.map((each) => canonical(each, here)).join(',')}]`;
  if (!isTable(value)) return JSON.stringify(value);
  const names = Object.keys(value).toSorted();
  return `{${names.map((name) => `${canonical(name, here)}:${canonical(value[name], here)}`).join(',')}}`;
}

export const objectKeywords: Keywords<Table> = new Map<string, Keyword<Table>>([
  ['required', (operand, here, value) => needAll(operand, here, value, () => 'does')],
  [
    'dependentRequired',
    (operand, here, value) =>
      eachPresent(operand, here, value, (name, needed) => needAll(needed, here, value, () => `has "${name}" but does`)),
  ],
  [
    'dependentSchemas',
    (operand, here, value) => eachPresent(operand, here, value, (_, schema) => here.tell(here.within(schema))),
  ],
  [
    'dependencies',
    (operand, here, value) =>
      eachPresent(operand, here, value, (name, needed) => {
        if (Array.isArray(needed)) needAll(needed, here, value, () => `has "${name}" but does`);
        else here.tell(here.within(needed));
      }),
  ],
  ['minProperties', (operand, here, value) => holdLeast(operand, here, countOf(value, here), 'Instance', 'properties')],
  ['maxProperties', (operand, here, value) => holdMost(operand, here, countOf(value, here), 'Instance', 'properties')],
  [
    'propertyNames',
    (operand, here, value) => eachName(value, here, (name) => here.tell(here.below(operand, name, name))),
  ],
  [
    'properties',
    (operand, here, value) =>
      eachPresent(operand, here, value, (name, schema) => holdProperty(schema, here, value, name)),
  ],
  [
    'patternProperties',
    (operand, here, value) => {
      const schemas = tableOf(operand);
      eachName(schemas, here, (source) =>
        eachName(value, here, (name) => {
          if (here.pattern(source)?.test(name) === true) holdProperty(schemas[source], here, value, name);
        }),
      );
    },
  ],
  [
    'additionalProperties',
    (operand, here, value) => {
      const declared = tableOf(here.schema['properties']);
      eachName(value, here, (name) => {
        if (!Object.hasOwn(declared, name) && !isPatterned(name, here)) holdProperty(operand, here, value, name);
      });
    },
  ],
  [
    'unevaluatedProperties',
    (operand, here, value) =>
      eachName(value, here, (name) => {
        if (here.seen?.has(name) === false) holdProperty(operand, here, value, name);
      }),
  ],
]);

function isPatterned(name: string, here: Visit): boolean {
  const sources = Object.keys(tableOf(here.schema['patternProperties']));
  here.spend(sources.length);
  return sources.some((source) => here.pattern(source)?.test(name));
}

function holdProperty(schema: unknown, here: Visit, value: Table, name: string): void {
  here.seen?.add(name);
  here.tell(here.below(schema, name, value[name]));
}

function eachName(value: Table, here: Visit, hold: (name: string) => void): void {
  const names = Object.keys(value);
  here.spend(names.length);
  names.forEach(hold);
}

/** Those that stand in the operand and in the value. */
function eachPresent(operand: unknown, here: Visit, value: Table, hold: (name: string, of: unknown) => void): void {
  const table = tableOf(operand);
  eachName(table, here, (name) => {
    if (Object.hasOwn(value, name)) hold(name, table[name]);
  });
}

function needAll(operand: unknown, here: Visit, value: Table, does: () => string): void {
  const names = listOf(operand);
  here.spend(names.length);
  for (const name of names) {
    if (typeof name !== 'string' || Object.hasOwn(value, name)) continue;
    here.fail(() => `Instance ${does()} not have required property "${name}".`);
  }
}

function countOf(value: Table, here: Visit): number {
  const names = Object.keys(value);
  here.spend(names.length);
  return names.length;
}

function holdLeast(bound: unknown, here: Visit, count: number, what: string, of: string): void {
  if (typeof bound !== 'number' || count >= bound) return;
  here.fail(() => `${what} has too few ${of} (${count} < ${bound}).`);
}

function holdMost(bound: unknown, here: Visit, count: number, what: string, of: string): void {
  if (typeof bound !== 'number' || count <= bound) return;
  here.fail(() => `${what} has too many ${of} (${count} > ${bound}).`);
}

type List = readonly unknown[];

export const arrayKeywords: Keywords<List> = new Map<string, Keyword<List>>([
  ['minItems', (operand, here, value) => holdLeast(operand, here, value.length, 'Array', 'items')],
  ['maxItems', (operand, here, value) => holdMost(operand, here, value.length, 'Array', 'items')],
  ['prefixItems', holdFirst],
  [
    'items',
    (operand, here, value) => {
      // Older drafts give the first ones here, and the rest in `additionalItems`.
      if (Array.isArray(operand)) holdFirst(operand, here, value);
      else holdRest(operand, here, value, listOf(here.schema['prefixItems']).length);
    },
  ],
  [
    'additionalItems',
    (operand, here, value) => {
      const first = here.schema['items'];
      if (Array.isArray(first)) holdRest(operand, here, value, first.length);
    },
  ],
  ['contains', holdContained],
  ['uniqueItems', holdUnique],
  [
    'unevaluatedItems',
    (operand, here, value) =>
      value.forEach((_, index) => {
        here.spend(1);
        if (here.seen?.has(String(index)) === false) holdItem(operand, here, value, index);
      }),
  ],
]);

function holdItem(schema: unknown, here: Visit, value: List, index: number): void {
  here.seen?.add(String(index));
  here.tell(here.below(schema, index, value[index]));
}

function holdFirst(operand: unknown, here: Visit, value: List): void {
  listOf(operand)
    .slice(0, value.length)
    .forEach((schema, index) => holdItem(schema, here, value, index));
}

function holdRest(schema: unknown, here: Visit, value: List, from: number): void {
  for (let index = from; index < value.length; index += 1) holdItem(schema, here, value, index);
}

function holdContained(operand: unknown, here: Visit, value: List): void {
  const { minContains: least = 1, maxContains: most } = here.schema;
  const holding = value.filter((each, index) => {
    const holds = here.below(operand, index, each).length === 0;
    if (holds) here.seen?.add(String(index));
    return holds;
  });
  holdLeast(least, here, holding.length, 'Array', 'items that match "contains"');
  holdMost(most, here, holding.length, 'Array', 'items that match "contains"');
}

function holdUnique(operand: unknown, here: Visit, value: List): void {
  if (operand !== true || new Set(value.map((each) => canonical(each, here))).size === value.length) return;
  here.fail(() => 'Array has the same item twice.');
}

export const stringKeywords: Keywords<string> = new Map<string, Keyword<string>>([
  ['minLength', (operand, here, value) => holdLeast(operand, here, charactersOf(value, here), 'String', 'characters')],
  ['maxLength', (operand, here, value) => holdMost(operand, here, charactersOf(value, here), 'String', 'characters')],
  [
    'pattern',
    (operand, here, value) => {
      const holds = typeof operand !== 'string' || here.pattern(operand)?.test(value) !== false;
      if (!holds) here.fail(() => 'String does not match pattern.');
    },
  ],
  [
    'format',
    (operand, here, value) => {
      here.spend(stepsOf(value));
      const holds = typeof operand !== 'string' || formats.get(operand)?.(value) !== false;
      if (!holds) here.fail(() => `String does not match format "${operand}".`);
    },
  ],
]);

/** Both halves of a pair are one character. */
function charactersOf(value: string, here: Visit): number {
  here.spend(stepsOf(value));
  return value.replaceAll(/[\uD800-\uDBFF][\uDC00-\uDFFF]/g, ' ').length;
}

export const numberKeywords: Keywords<number> = new Map<string, Keyword<number>>([
  ['minimum', bound((value, limit) => value >= limit, '<')],
  ['maximum', bound((value, limit) => value <= limit, '>')],
  ['exclusiveMinimum', bound((value, limit) => value > limit, '<=')],
  ['exclusiveMaximum', bound((value, limit) => value < limit, '>=')],
  ['multipleOf', bound(isMultiple, 'is not a multiple of')],
]);

function bound(holds: (value: number, limit: number) => boolean, otherwise: string): Keyword<number> {
  return (limit, here, value) => {
    if (typeof limit !== 'number' || holds(value, limit)) return;
    here.fail(() => `${value} ${otherwise} ${limit}.`);
  };
}

/** Within what binary fractions can say: 0.3 is a multiple of 0.1. */
function isMultiple(value: number, step: number): boolean {
  const quotient = value / step;
  return Math.abs(quotient - Math.round(quotient)) <= Math.abs(quotient) * Number.EPSILON;
}
