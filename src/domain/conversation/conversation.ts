export {
  textOf,
  type CallItem,
  type Citation,
  type ContentPart,
  type Item,
  type ItemId,
  type ItemStatus,
  type MessageItem,
  type ResultItem,
  type Role,
} from './item.ts';
export type { StartedTurn, TurnEvent, TurnOutcome, TurnState, Usage } from './turn-event.ts';
