export {
  textOf,
  type ApprovalItem,
  type ApprovalRequestItem,
  type CallItem,
  type Citation,
  type CompactionItem,
  type ContentPart,
  type Item,
  type ItemId,
  type ItemStatus,
  type MessageItem,
  type ReasoningItem,
  type ResultItem,
  type Role,
  type Summary,
  type ToolItem,
} from './item.ts';
export type { DeltaEvent, OpenedItem, StartedTurn, TurnEvent, TurnOutcome, TurnState, Usage } from './turn-event.ts';
export { addUsage, noUsage, nothingTold, replay, type Placed, type Replayed } from './replay.ts';
export { retell } from './retell.ts';
export {
  isSearchId,
  searchFound,
  searchQueries,
  searchSource,
  searchTool,
  writeFound,
  type FoundPassage,
} from './search.ts';
