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
} from './archive/archive.ts';
export type { Relay } from './answer/answer.ts';
export { BackendPool } from './answer/backend-pool.ts';
export {
  changeCompletion,
  deleteCompletion,
  listCompletions,
  noCompletion,
  readCompletion,
  readCompletionInput,
  type Completion,
} from './archive/completions.ts';
export { findReplaced } from './archive/find-replaced.ts';
export { noCursor } from './archive/no-cursor.ts';
export { noSuchPrevious } from './archive/no-such-previous.ts';
export { readApprovals } from './archive/read-approvals.ts';
export { readTranscript, type Transcript, type TranscriptTurn } from './archive/read-transcript.ts';
export { compactInput, type CompactedInput } from './context/compact-input.ts';
export { countInputTokens } from './context/count-input.ts';
export { cancelTurn } from './durable/cancel-turn.ts';
export { EventWriter } from './durable/event-writer.ts';
export { listAudit, putAudit } from './archive/audit-trail.ts';
export { answerHandover, listHandovers, readHandover, returnHandover, takeConversation } from './archive/operate.ts';
export { followTurn } from './durable/follow-turn.ts';
export { LiveTurns } from './durable/live-turns.ts';
export { startInBackground } from './durable/queue-turn.ts';
export type { FinishedEvent } from './record.ts';
export { resolveReferences, type SaidItem } from './context/resolve-references.ts';
export { runTurn } from './run-turn.ts';
export { TurnLeases } from './durable/turn-leases.ts';
export { TurnLimits } from './turn-limits.ts';
export { TurnWatch } from './durable/turn-watch.ts';
export { TurnWorker } from './durable/turn-worker.ts';
export type { TurnRooms } from './turn-rooms.ts';
export type { RepeatHint, TurnRequest } from './turn-steps.ts';
export { UnstoredTurns } from './durable/unstored-turns.ts';
