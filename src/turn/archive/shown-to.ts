import type { Principal } from '#access';
import type { Item, TurnEvent } from '#conversation';
import type { Relay } from '../answer/answer.ts';

/*
 * What a model thought quotes the owner's instructions and weighs what to tell: applications see it,
 * persons see that it thought. Events stay as many, so that their numbers mean the same to both.
 */

export function shownTo({ kind }: Pick<Principal, 'kind'>, item: Item): Item {
  if (kind === 'key' || item.kind !== 'reasoning') return item;
  const { sealed: _sealed, ...rest } = item;
  return { ...rest, text: '' };
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
