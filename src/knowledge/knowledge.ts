export { FileReader } from './file-reader.ts';
export { openKnowledgeIndex, type KnowledgeIndex } from './knowledge-index.ts';
export { readPassages } from './read-passages.ts';
