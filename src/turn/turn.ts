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
  runningTurnOf,
  updateMetadata,
  type Conversation,
  type Metadata,
  type RecordedTurn,
} from './archive.ts';
export type { Relay } from './answer.ts';
export { BackendPool } from './backend-pool.ts';
export {
  changeCompletion,
  deleteCompletion,
  listCompletions,
  noCompletion,
  readCompletion,
  readCompletionInput,
  type Completion,
} from './completions.ts';
export { readTranscript, type Transcript, type TranscriptTurn } from './read-transcript.ts';
export { compactInput, type CompactedInput } from './compact-input.ts';
export { countInputTokens } from './count-input.ts';
export { cancelTurn } from './cancel-turn.ts';
export { EventWriter } from './event-writer.ts';
export { answerHandover, listHandovers, readHandover, returnHandover, takeConversation } from './operate.ts';
export { followTurn } from './follow-turn.ts';
export { LiveTurns } from './live-turns.ts';
export { startInBackground } from './queue-turn.ts';
export type { FinishedEvent } from './record.ts';
export { resolveReferences, type SaidItem } from './resolve-references.ts';
export { runTurn } from './run-turn.ts';
export { TurnLeases } from './turn-leases.ts';
export { TurnLimits } from './turn-limits.ts';
export { TurnWatch } from './turn-watch.ts';
export { TurnWorker } from './turn-worker.ts';
export type { TurnRooms } from './turn-rooms.ts';
export type { RepeatHint, TurnRequest } from './turn-steps.ts';
export { UnstoredTurns } from './unstored-turns.ts';
