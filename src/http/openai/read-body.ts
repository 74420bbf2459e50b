import { z } from 'zod';
import { UsherError } from '#base';

/**
 * The body in the shape of `schema`. The first thing wrong is named as the caller wrote it
 * (`messages[0].role`), with what was expected there.
 *
 * @throws UsherError `invalid_request`
 */
export function readBody<S extends z.ZodType>(schema: S, body: unknown): z.infer<S> {
  const read = schema.safeParse(body ?? {});
  if (read.success) return read.data;
  const issue = deepest(read.error.issues[0]!);
  const param = paramOf(issue.path);
  const where = param === '' ? 'The body' : `"${param}"`;
  throw new UsherError('invalid_request', `${where} is not valid: ${issue.message}.`, param === '' ? {} : { param });
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Of a union's branches, the one that got furthest says best what was meant. */
function deepest(issue: z.core.$ZodIssue, base: readonly PropertyKey[] = []): Issue {
  const path = [...base, ...issue.path];
  if (issue.code !== 'invalid_union') return { path, message: issue.message };
  const branches = issue.errors.flatMap((branch) => (branch[0] === undefined ? [] : [deepest(branch[0], path)]));
  const best = branches.toSorted((a, b) => b.path.length - a.path.length)[0];
  return best !== undefined && best.path.length > path.length ? best : { path, message: issue.message };
}

function paramOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

/** Key-value pairs that a caller attaches; the wire's own limits. */
export const metadataSchema = z
  .record(z.string().max(64), z.string().max(512))
  .refine((metadata) => Object.keys(metadata).length <= 16, 'at most 16 keys are allowed')
  .describe('Up to 16 texts of 512 characters, by names of 64, kept with it and given back.');

export const modelSchema = z
  .string()
  .min(1)
  .describe('`<assistant>`, `<assistant>@<environment>` or `<assistant>@<digest>`.');

export const streamSchema = z.boolean().describe('Whether the answer comes piece by piece, as server-sent events.');

export const subjectSchema = z
  .string()
  .max(64)
  .describe('The person that this is about, as the application names them: their key, their side of a split.');

/** A page of a list: the wire's own limits. */
export const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20).describe('At most so many.'),
  order: z.enum(['asc', 'desc']).default('desc').describe('`asc`: oldest first.'),
  after: z.string().min(1).optional().describe('The id of the last one on the page before.'),
});

export function readPage(query: URLSearchParams): {
  limit: number;
  order: 'oldest-first' | 'newest-first';
  after?: string;
} {
  const { limit, order, after } = readBody(pageSchema, Object.fromEntries(query));
  const read = { limit, order: order === 'asc' ? ('oldest-first' as const) : ('newest-first' as const) };
  return after === undefined ? read : { ...read, after };
}
