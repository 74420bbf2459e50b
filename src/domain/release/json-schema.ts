import {
  arrayKeywords,
  isTable,
  numberKeywords,
  objectKeywords,
  stringKeywords,
  valueKeywords,
  type Problem,
  type Table,
  type Visit,
} from './json-schema-keywords.ts';

/** What came of holding a value against a schema. */
export type SchemaVerdict =
  | { readonly result: 'holds' }
  | { readonly result: 'fails'; readonly problems: readonly string[] }
  /** It would have taken too many steps, or is nested too deeply: nothing is known. */
  | { readonly result: 'unknown' };

export interface JsonSchemaOptions {
  /** A pattern can take a processor for ever, so only those of the assistant's own owner are run. */
  readonly patterns: boolean;
}

/**
 * Steps that one check may take, each a schema, a keyword, a name or 64 characters that are looked at.
 * A few lines of a schema can ask for more than ever ends, since a value is held against every schema
 * that references lead to, as often as they do. 100,000 characters of arguments take some 100,000.
 */
export const checkStepsMax = 250_000;
/** A model mends what it is told, and the rest shows then. */
const problemsMax = 5;

/**
 * A check of values against a JSON Schema (2020-12). It interprets the schema: one that somebody else
 * wrote never becomes code. Formats that it does not know, and `$id` of the whole schema, say nothing.
 *
 * @throws Error where the schema cannot be checked with: a reference that leads out of it or nowhere, a broken pattern
 */
export function openJsonSchema(schema: object, { patterns }: JsonSchemaOptions): (value: unknown) => SchemaVerdict {
  const opened = open(schema as Table, patterns);
  return (value) => {
    const check: Check = { ...opened, stepsLeft: checkStepsMax };
    try {
      const found = visit(check, schema, { value, place: '', seen: opened.keepsSeen ? new Set() : undefined });
      if (found.length === 0) return { result: 'holds' };
      return { result: 'fails', problems: [...new Set(found.map((say) => say()))].slice(0, problemsMax) };
    } catch (error) {
      if (error instanceof OutOfSteps || error instanceof RangeError) return { result: 'unknown' };
      throw error;
    }
  };
}

class OutOfSteps extends Error {}

interface OpenedSchema {
  readonly targets: ReadonlyMap<string, unknown>;
  readonly patterns: ReadonlyMap<string, RegExp>;
  /** Whether some keyword asks what others have looked at. */
  readonly keepsSeen: boolean;
}

interface Check extends OpenedSchema {
  stepsLeft: number;
}

interface Place {
  readonly value: unknown;
  readonly place: string;
  readonly seen: Set<string> | undefined;
}

const problemsKeptMax = 20;

/** What the value lacks of the schema, told where it lacks it; nothing where it holds. */
function visit(check: Check, schema: unknown, { value, place, seen }: Place): readonly Problem[] {
  const spend = (steps: number): void => {
    check.stepsLeft -= steps;
    if (check.stepsLeft < 0) throw new OutOfSteps();
  };
  spend(1);
  // Made where it is told: names of the value may be long, and each visit would copy them.
  const named = (): string => (place === '' ? 'the arguments' : place.slice(1));
  if (schema === false) return [() => `${named()}: is not an argument of this tool`];
  if (!isTable(schema)) return [];
  const problems: Problem[] = [];
  const tell = (found: readonly Problem[]): void =>
    void problems.push(...found.slice(0, problemsKeptMax - problems.length));
  const here: Visit = {
    schema,
    seen,
    spend,
    tell,
    fail: (say) => tell([() => `${named()}: ${say()}`]),
    pattern: (source) => check.patterns.get(source),
    target: (reference) => check.targets.get(reference),
    below: (inner, name, held) =>
      visit(check, inner, { value: held, place: `${place}/${name}`, seen: check.keepsSeen ? new Set() : undefined }),
    within: (inner) => {
      const innerSeen = seen === undefined ? undefined : new Set<string>();
      const found = visit(check, inner, { value, place, seen: innerSeen });
      if (found.length > 0 || innerSeen === undefined) return found;
      spend(innerSeen.size);
      for (const name of innerSeen) seen?.add(name);
      return found;
    },
  };
  apply(here, value);
  return problems;
}

function apply(here: Visit, value: unknown): void {
  const keywords = Object.keys(here.schema);
  here.spend(keywords.length);
  // They ask what others have looked at.
  if (here.seen !== undefined) keywords.sort((one, other) => Number(isLast(one)) - Number(isLast(other)));
  for (const name of keywords) {
    const operand = here.schema[name];
    valueKeywords.get(name)?.(operand, here, value);
    if (typeof value === 'string') stringKeywords.get(name)?.(operand, here, value);
    else if (typeof value === 'number') numberKeywords.get(name)?.(operand, here, value);
    else if (Array.isArray(value)) arrayKeywords.get(name)?.(operand, here, value);
    else if (isTable(value)) objectKeywords.get(name)?.(operand, here, value);
  }
}

function isLast(keyword: string): boolean {
  return keyword === 'unevaluatedProperties' || keyword === 'unevaluatedItems';
}

function open(root: Table, takesPatterns: boolean): OpenedSchema {
  const schemas = schemasOf(root);
  const targets = new Map<string, unknown>();
  const patterns = new Map<string, RegExp>();
  for (const schema of schemas) {
    refuseForeign(schema, schema === root);
    const { $ref, pattern, patternProperties } = schema;
    if (typeof $ref === 'string' && !targets.has($ref)) targets.set($ref, targetOf(root, $ref, schemas));
    const sources = isTable(patternProperties) ? Object.keys(patternProperties) : [];
    for (const source of typeof pattern === 'string' ? [pattern, ...sources] : sources) {
      if (!takesPatterns) throw new Error('it has a pattern, which is not run');
      patterns.set(source, new RegExp(source, 'u'));
    }
  }
  return { targets, patterns, keepsSeen: schemas.values().some((schema) => Object.keys(schema).some(isLast)) };
}

/** What would need a base address, or what has been followed before, to be understood. */
function refuseForeign({ $id, $ref, $dynamicRef, $recursiveRef }: Table, isRoot: boolean): void {
  if ($dynamicRef !== undefined || $recursiveRef !== undefined || ($ref !== undefined && !isWithin($ref))) {
    throw new Error(
      `${String($ref ?? $dynamicRef ?? $recursiveRef)} leads out of it; a $ref must be "#" or begin with "#/"`,
    );
  }
  if (!isRoot && typeof $id === 'string' && !$id.startsWith('#')) {
    throw new Error('a schema within it has an "$id" of its own, which is not followed; take it out');
  }
}

/** These hold values and no schemas. */
const ofValues = new Set(['const', 'enum', 'default', 'example', 'examples']);
/** These hold schemas by names that are no keywords. */
const ofNames = new Set([
  '$defs',
  'definitions',
  'properties',
  'patternProperties',
  'dependentSchemas',
  'dependencies',
]);

/** The schema and all those within it, each once. */
function schemasOf(root: Table): ReadonlySet<Table> {
  const found = new Set([root]);
  for (const schema of found) {
    for (const [keyword, operand] of Object.entries(schema)) {
      if (ofValues.has(keyword)) continue;
      const named = ofNames.has(keyword) && isTable(operand);
      const inner = named || Array.isArray(operand) ? Object.values(operand) : [operand];
      for (const each of inner) if (isTable(each)) found.add(each);
    }
  }
  return found;
}

function isWithin(reference: unknown): reference is string {
  return typeof reference === 'string' && (reference === '#' || reference.startsWith('#/'));
}

/** What a reference within the schema leads to (RFC 6901). */
function targetOf(root: Table, reference: string, schemas: ReadonlySet<Table>): unknown {
  let target: unknown = root;
  for (const step of reference.split('/').slice(1)) {
    const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
    const isThere = typeof target === 'object' && target !== null && Object.hasOwn(target, name);
    target = isThere ? (target as Table)[name] : undefined;
  }
  if (typeof target === 'boolean' || (isTable(target) && schemas.has(target))) return target;
  throw new Error(`${reference} leads nowhere`);
}
