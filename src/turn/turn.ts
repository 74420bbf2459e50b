export {
  appendItems,
  createConversation,
  deleteConversation,
  deleteItem,
  deleteTurn,
  giveFeedback,
  listConversations,
  listItems,
  readConversation,
  readItem,
  readTurn,
  readTurnInput,
  updateMetadata,
  type Conversation,
  type Metadata,
  type RecordedTurn,
} from './archive.ts';
export type { Relay } from './answer.ts';
export { BackendPool } from './backend-pool.ts';
export { readTranscript, type Transcript, type TranscriptTurn } from './read-transcript.ts';
export { runTurn } from './run-turn.ts';
export { TurnLeases } from './turn-leases.ts';
export { TurnLimits } from './turn-limits.ts';
export type { TurnRooms } from './turn-rooms.ts';
export type { TurnRequest } from './turn-steps.ts';
export { UnfinishedTurns } from './unfinished-turns.ts';
export { UnstoredTurns } from './unstored-turns.ts';
