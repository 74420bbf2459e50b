export { FileReader } from './file-reader.ts';
export { openKnowledgeIndex, type KnowledgeIndex } from './knowledge-index.ts';
export { DocumentReader, type ReadProgress } from './document-reader.ts';
export { tableOf, type VectorTable } from './vector-table.ts';
