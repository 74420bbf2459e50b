import MiniSearch from 'minisearch';
import type { Passage } from '#release';
import { termsOf, words } from './terms.ts';

/** Full-text search over a release's passages, in memory. */
export interface KnowledgeIndex {
  /** The best passages for a question, best first; empty where nothing fits. */
  search(question: string, most: number): readonly ScoredPassage[];
}

export interface ScoredPassage extends Passage {
  readonly score: number;
}

/** Terms of a question that are looked up: each costs a walk of the index, and a person asks with fewer. */
const questionTermsMax = 64;
const questionCharactersMax = 4000;

/** Passages this much weaker than the best one are noise to a model. */
const scoreShareMin = 0.2;

/**
 * Builds the index of a release: BM25+ over title and text. Works in slices, so that a server goes
 * on serving meanwhile.
 */
export async function openKnowledgeIndex(passages: readonly Passage[]): Promise<KnowledgeIndex> {
  const index = new MiniSearch<{ readonly id: number; readonly title: string; readonly text: string }>({
    fields: ['title', 'text'],
    tokenize: words,
    processTerm: termsOf,
    searchOptions: {
      boost: { title: 2 },
      // A term that also begins a longer one, or is mistyped by one letter, counts for less.
      prefix: (term) => term.length > 3,
      fuzzy: (term) => (term.length > 4 ? 0.15 : false),
      weights: { prefix: 0.4, fuzzy: 0.2 },
    },
  });
  await index.addAllAsync(
    passages.map(({ title, text }, id) => ({ id, title, text })),
    { chunkSize: 50 },
  );
  return { search: (question, most) => search(index, passages, question, most) };
}

function search(
  index: MiniSearch,
  passages: readonly Passage[],
  question: string,
  most: number,
): readonly ScoredPassage[] {
  if (most <= 0 || passages.length === 0) return [];
  const asked = [...new Set(words(question.slice(0, questionCharactersMax)))]
    .filter((word) => termsOf(word) !== null)
    .slice(0, questionTermsMax);
  if (asked.length === 0) return [];
  const found = index.search(asked.join(' '));
  const least = (found[0]?.score ?? 0) * scoreShareMin;
  return found
    .slice(0, most)
    .filter((hit) => hit.score >= least)
    .map((hit) => Object.assign({ score: hit.score }, passages[hit.id as number]!));
}
