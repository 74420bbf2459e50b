import MiniSearch, { type SearchResult } from 'minisearch';
import type { Passage, ScoredPassage } from '#release';
import { fuseRanks } from './fuse-ranks.ts';
import { trailMark } from './section.ts';
import { termsOf, words } from './terms.ts';
import { nearestRows, type VectorTable } from './vector-table.ts';

/** Search over a release's passages, in memory. */
export interface KnowledgeIndex {
  /** The best passages for a question by its words, best first; empty where nothing fits. */
  search(question: string, most: number): readonly ScoredPassage[];
  /** The same, by its words and by its meaning together. */
  searchBoth(question: string, meaning: Meaning, most: number): Promise<readonly ScoredPassage[]>;
}

/** A question's own vector, and those of the passages, of one model. */
export interface Meaning {
  readonly vector: Float32Array;
  readonly passages: VectorTable;
}

/** Terms of a question that are looked up: each costs a walk of the index, and a person asks with fewer. */
const questionTermsMax = 64;
const questionCharactersMax = 4000;
const mistypedTermsMax = 8;

/** Passages this much weaker than the best one are noise to a model. */
const scoreShareMin = 0.2;

/** What each of the two ways puts forward to be fused, at the least: what both find rises. */
const candidatesMin = 50;

/** What is known of each word while the index is built: documents repeat their words. */
type Forms = Map<string, string[] | null>;

/** What of a passage is looked up. */
const fields = ['heading', 'above', 'text'] as const;

/**
 * Builds the index of a release: BM25+ over headings and text. Works in slices, so that a server goes
 * on serving meanwhile.
 */
export async function openKnowledgeIndex(passages: readonly Passage[]): Promise<KnowledgeIndex> {
  const forms: Forms = new Map();
  const index = new MiniSearch<{
    readonly id: number;
    readonly heading: string;
    readonly above: string;
    readonly text: string;
  }>({
    fields: [...fields],
    tokenize: words,
    processTerm: (word) => {
      const known = forms.get(word);
      if (known !== undefined) return known;
      const found = termsOf(word);
      forms.set(word, found);
      return found;
    },
    searchOptions: {
      processTerm: termsOf,
      // The headings above are the same for all passages below them, so they tell less than the own one.
      boost: { heading: 1.5, above: 0.5 },
      // Passages are cut to one length, so theirs tells little: of b from 0.1 to 0.7, all up to 0.5
      // did best on the questions of retrieval-quality.test.ts.
      bm25: { k: 1.2, b: 0.4, d: 0.5 },
      weights: { prefix: 0.4, fuzzy: 0.2 },
    },
  });
  await index.addAllAsync(
    passages.map(({ title, text }, id) => ({ id, ...headingsOf(title), text })),
    { chunkSize: 20 },
  );
  forms.clear();
  const scored = ({ row, score }: Hit): ScoredPassage => Object.assign({ row, score }, passages[row]!);
  const byWords = (question: string, most: number): readonly Hit[] =>
    most <= 0 || passages.length === 0 ? [] : lookUpBest(index, question, most);
  return {
    search: (question, most) => byWords(question, most).map(scored),
    searchBoth: async (question, { vector, passages: table }, most) => {
      if (most <= 0) return [];
      const candidates = Math.max(candidatesMin, most);
      const found = byWords(question, candidates).map(({ row }) => row);
      const near = await nearestRows(table, vector, candidates);
      return fuseRanks([found, near]).slice(0, most).map(scored);
    },
  };
}

/** A passage by its place among those of the release. */
interface Hit {
  readonly row: number;
  readonly score: number;
}

function lookUpBest(index: MiniSearch, question: string, most: number): readonly Hit[] {
  const found = lookUp(index, question);
  const least = (found[0]?.score ?? 0) * scoreShareMin;
  return found
    .slice(0, most)
    .filter((hit) => hit.score >= least)
    .map(({ id, score }) => ({ row: id as number, score }));
}

/**
 * Looks the words up as they stand and as beginnings of longer ones. Words that the knowledge does
 * not hold at all are taken for mistyped ones, and looked up again with letters left open: that
 * walk is the costly one, and for words that stand in the knowledge it only adds noise.
 */
function lookUp(index: MiniSearch, question: string): SearchResult[] {
  const asked = [...new Set(words(question.slice(0, questionCharactersMax)))]
    .flatMap((word) => termsOf(word)?.slice(0, 1) ?? [])
    .slice(0, questionTermsMax);
  if (asked.length === 0) return [];
  const asIs = { fields: [...fields], prefix: (term: string) => term.length > 3, ...termsAreFinal };
  const found = index.search({ queries: asked, ...asIs });
  const known = new Set(found.flatMap((hit) => hit.queryTerms));
  const unknown = asked.filter((term) => !known.has(term) && term.length > 3).slice(0, mistypedTermsMax);
  if (unknown.length === 0) return found;
  const mistyped = { queries: unknown, fuzzy: (term: string) => (term.length < 6 ? 1 : 2), ...termsAreFinal };
  return index.search({ combineWith: 'OR', queries: [{ queries: [...known], ...asIs }, mistyped] });
}

/** The words of a question are split and folded once, by us. */
const termsAreFinal = { tokenize: (term: string) => [term], processTerm: (term: string) => term };

/** A title is the way to the passage: its document and headings, `Prices › Day tickets`. */
function headingsOf(title: string): { readonly heading: string; readonly above: string } {
  const way = title.split(trailMark);
  return { heading: way.at(-1) ?? '', above: way.slice(0, -1).join(' ') };
}
