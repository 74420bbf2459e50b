export { openKnowledgeIndex, type KnowledgeIndex } from './knowledge-index.ts';
export { readPassages } from './read-passages.ts';
export { tableOf, type VectorTable } from './vector-table.ts';
