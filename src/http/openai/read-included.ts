import { z } from 'zod';
import { pageSchema } from './read-body.ts';
import { resultsIncluded, type ResponseSettings } from './response-body.ts';

/** What a query may ask for besides. */
export const includedSchema = z.object({
  include: z
    .string()
    .optional()
    .describe(
      `\`${resultsIncluded}\`: the items of searches hold the passages that were found. Others are left unread.`,
    ),
  'include[]': z.string().optional().describe('The same; may stand several times.'),
});

export const itemPageSchema = pageSchema.extend(includedSchema.shape);

export function readIncluded(query: URLSearchParams): Pick<ResponseSettings, 'showsFound'> {
  const included = [...query.getAll('include'), ...query.getAll('include[]')];
  return included.includes(resultsIncluded) ? { showsFound: true } : {};
}
