import type { Principal } from '#access';
import type { Item, MessageItem, TurnEvent } from '#conversation';
import type { Relay } from '../answer/answer.ts';

/*
 * What a model thought quotes the owner's instructions and weighs what to tell, and what an application
 * told it beside the person is no message to them: applications see it, persons see that it is there.
 * Items and events stay as many, so that their places and numbers mean the same to both.
 */

export function shownTo({ kind }: Pick<Principal, 'kind'>, item: Item): Item {
  if (kind === 'key') return item;
  if (isInstruction(item)) return { ...item, content: [] };
  if (item.kind !== 'reasoning') return item;
  const { sealed: _sealed, ...rest } = item;
  return { ...rest, text: '' };
}

/** A message of an application to the model. */
export function isInstruction(item: Item): item is MessageItem {
  return item.kind === 'message' && (item.role === 'system' || item.role === 'developer');
}

export function relayTo(principal: Pick<Principal, 'kind'>, relay: Relay): Relay {
  if (principal.kind === 'key') return relay;
  return (event) => relay(eventShownTo(principal, event));
}

function eventShownTo(principal: Pick<Principal, 'kind'>, event: TurnEvent): TurnEvent {
  switch (event.type) {
    case 'reasoning':
      return { ...event, delta: '' };
    case 'closed':
      return { ...event, item: shownTo(principal, event.item) };
    default:
      return event;
  }
}
