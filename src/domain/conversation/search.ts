import { parseId, type Id } from '#base';
import type { ToolItem } from './item.ts';

/** What a model calls to search the assistant's knowledge, and where such a call says that it comes from. */
export const searchTool = 'file_search';
export const searchSource = 'knowledge';

/** A passage that a search found. */
export interface FoundPassage {
  /** What the model names it by when it marks what it uses; unique within a turn. */
  readonly number: number;
  readonly source: string;
  readonly title: string;
  readonly text: string;
  /** Of the best of the search 1, of others their share of that. */
  readonly score: number;
}

/** Whether an id is that of a call which searches the knowledge. */
export function isSearchId(id: string): id is Id<'search'> {
  return parseId('search', id) !== undefined;
}

/** What was asked; empty where the call was cut short or says nothing. */
export function searchQueries({ arguments: text }: Pick<ToolItem, 'arguments'>): readonly string[] {
  const asked = parsed(text);
  const query = typeof asked === 'object' && asked !== null && 'query' in asked ? asked.query : undefined;
  return typeof query === 'string' && query.trim() !== '' ? [query] : [];
}

export function writeFound(found: readonly FoundPassage[]): string {
  return JSON.stringify(found);
}

/** What a search found; undefined for calls of other tools, and while nothing is known. */
export function searchFound({ id, output }: ToolItem): readonly FoundPassage[] | undefined {
  return isSearchId(id) && output !== null ? (parsed(output) as readonly FoundPassage[]) : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
