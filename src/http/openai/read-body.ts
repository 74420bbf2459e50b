import { z } from 'zod';
import { checkAgainst, shown, UsherError, type DataWords } from '#base';
import { noCursor } from '#turn';

/** As programs write it: `"messages[0].role"`. */
const bodyWords: DataWords = {
  place: (path) => (path.length === 0 ? 'the body' : `"${shown(paramOf(path))}"`),
  types: { string: 'a string', object: 'an object', null: 'null' },
};

/**
 * The body in the shape of `schema`. The first thing wrong is told in a sentence with where it
 * stands and what was expected there.
 *
 * @throws UsherError `invalid_request`
 */
export function readBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const read = checkAgainst(schema, body ?? {}, bodyWords);
  if (read.ok) return read.value;
  const { path, message } = read.findings[0]!;
  const param = paramOf(path);
  const sentence = message.charAt(0).toUpperCase() + message.slice(1);
  throw new UsherError(
    'invalid_request',
    sentence.endsWith('?') ? sentence : `${sentence}.`,
    param === '' ? {} : { param },
  );
}

/**
 * The query in the shape of `schema`. A key without a value would be read as 0 where a number is expected.
 *
 * @throws UsherError `invalid_request`
 */
export function readQuery<Shape extends z.ZodRawShape>(
  schema: z.ZodObject<Shape>,
  query: URLSearchParams,
): z.infer<z.ZodObject<Shape>> {
  const empty = [...query].find(([name, value]) => value === '' && name in schema.shape)?.[0];
  if (empty === undefined) return readBody(schema, Object.fromEntries(query));
  throw new UsherError('invalid_request', `"${empty}" has no value. Give it one, or leave it out.`, { param: empty });
}

function paramOf(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? key : `${text}.${key}`;
  }, '');
}

/** Key-value pairs that a caller attaches; the wire's own limits. */
export const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((metadata) => Object.keys(metadata).length <= 16, 'must have at most 16 keys')
  .describe('Up to 16 texts of 512 characters, by names of 64, kept with it and given back.');

/** Of a change: null takes all of it away. */
export const newMetadataSchema = metadataSchema.nullable().transform((metadata) => metadata ?? {});

export const modelSchema = z
  .string()
  .min(1)
  .describe('`<assistant>`, `<assistant>@<environment>` or `<assistant>@<digest>`.');

export const streamSchema = z.boolean().describe('Whether the answer comes piece by piece, as server-sent events.');

/** As the token of a person: no database must trip over a name, least of all one that records many at once. */
const isName = (text: string): boolean => text.isWellFormed() && !/\p{Cc}/u.test(text);
const notName = 'must be text without control characters';

/** The older name of `subjectSchema`. */
export const userSchema = z
  .string()
  .max(512)
  .refine(isName, notName)
  .describe('The older name of `safety_identifier`.');

export const subjectSchema = z
  .string()
  .max(64)
  .refine(isName, notName)
  .describe('The person that this is about, as the application names them: their key, their side of a split.');

/** A page of a list: the wire's own limits. */
export const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('At most so many.'),
  order: z.enum(['asc', 'desc']).default('desc').describe('`asc`: oldest first.'),
  after: z
    .string()
    .min(1)
    .optional()
    .describe('The id of the last one on the page before; one that is not there any more is refused.'),
});

export function readPage(query: URLSearchParams): {
  limit: number;
  order: 'oldest-first' | 'newest-first';
  after?: string;
} {
  const { limit, order, after } = readQuery(pageSchema, query);
  const read = { limit, order: order === 'asc' ? ('oldest-first' as const) : ('newest-first' as const) };
  return after === undefined ? read : { ...read, after };
}

/** The page of a list that is there whole, in the order asked for. @throws UsherError `not_found` where `after` is not in it */
export function pageOf<Entry extends { readonly id: string }>(
  entries: readonly Entry[],
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
): { readonly shown: readonly Entry[]; readonly hasMore: boolean } {
  const place = after === undefined ? -1 : entries.findIndex(({ id }) => id === after);
  if (after !== undefined && place === -1) throw noCursor();
  const rest = entries.slice(place + 1);
  return { shown: rest.slice(0, limit), hasMore: rest.length > limit };
}
