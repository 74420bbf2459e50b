import type { Passage } from '#release';

/** Full-text search over a release's passages, in memory. */
export interface KnowledgeIndex {
  /** The best passages for a question, best first; empty where nothing fits. */
  search(question: string, most: number): readonly (Passage & { readonly score: number })[];
}
