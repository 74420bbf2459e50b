import { newId, type Id } from '#base';
import type { ModelEvent } from '#backend';
import type { CallItem, Citation, ContentPart, Item, ItemStatus, MessageItem, TurnEvent } from '#conversation';

/**
 * Where a turn's events go, in order, also while an earlier promise is pending. A returned promise
 * is backpressure; a rejection means that nobody listens any more.
 */
export type Relay = (event: TurnEvent) => void | Promise<void>;

/** A model that never stops is stopped here: about half a million tokens. */
const charactersMax = 2_000_000;
/** Each item costs kilobytes however short it is; a whole answer has a message and up to 128 calls. */
const itemsMax = 512;

interface OpenMessage {
  readonly kind: 'message';
  readonly id: Id<'message'>;
  readonly index: number;
  readonly part: 'text' | 'refusal';
  text: string;
  readonly citations: Citation[];
}

interface OpenCall {
  readonly kind: 'call';
  readonly id: Id<'call'>;
  readonly index: number;
  readonly modelIndex: number;
  readonly callId: string;
  readonly name: string;
  arguments: string;
}

/**
 * Builds an answer's items from a model's pieces and relays each piece on its way: per item
 * `opened`, deltas, `closed`; one item open at a time.
 */
export class Answer {
  readonly items: Item[] = [];
  #open: OpenMessage | OpenCall | undefined;
  #characters = 0;
  readonly #relay: Relay;

  constructor(relay: Relay) {
    this.#relay = relay;
  }

  /** Whether anything was relayed: after that, no other backend can take over unseen. */
  get begun(): boolean {
    return this.#open !== undefined || this.items.length > 0;
  }

  get characters(): number {
    return this.#characters;
  }

  get overlong(): boolean {
    return this.#characters > charactersMax || this.items.length > itemsMax;
  }

  add(event: ModelEvent): void | Promise<void> {
    switch (event.type) {
      case 'text':
      case 'refusal':
        return this.#addText(event.type, event.text);
      case 'call':
        return this.#addCall(event);
      case 'cited':
        return this.#addCitation({ source: event.source, title: event.title, start: event.start, end: event.end });
    }
  }

  /** Closes the item under way: whole, or cut short. */
  close(status: ItemStatus): void | Promise<void> {
    const open = this.#open;
    if (open === undefined) return;
    this.#open = undefined;
    const item = open.kind === 'message' ? messageItem(open, status) : callItem(open, status);
    this.items.push(item);
    return this.#relay({ type: 'closed', index: open.index, item });
  }

  #addText(part: 'text' | 'refusal', delta: string): void | Promise<void> {
    if (delta === '') return;
    this.#characters += delta.length;
    const open = this.#open;
    if (open?.kind === 'message' && open.part === part) {
      open.text += delta;
      return this.#relay({ type: part, index: open.index, itemId: open.id, delta });
    }
    return this.#openMessage(part, delta);
  }

  #openMessage(part: 'text' | 'refusal', delta: string): void | Promise<void> {
    const closing = this.close('completed');
    const open: OpenMessage = {
      kind: 'message',
      id: newId('message'),
      index: this.items.length,
      part,
      text: delta,
      citations: [],
    };
    this.#open = open;
    return allOf(
      closing,
      this.#relay({ type: 'opened', index: open.index, item: messageItem({ ...open, text: '' }, 'incomplete') }),
      this.#relay({ type: part, index: open.index, itemId: open.id, delta }),
    );
  }

  #addCall(event: Extract<ModelEvent, { type: 'call' }>): void | Promise<void> {
    this.#characters += event.arguments.length;
    const open = this.#open;
    if (open?.kind === 'call' && open.modelIndex === event.index) {
      open.arguments += event.arguments;
      if (event.arguments === '') return;
      return this.#relay({ type: 'arguments', index: open.index, itemId: open.id, delta: event.arguments });
    }
    return this.#openCall(event);
  }

  #openCall(event: Extract<ModelEvent, { type: 'call' }>): void | Promise<void> {
    const closing = this.close('completed');
    const open: OpenCall = {
      kind: 'call',
      id: newId('call'),
      index: this.items.length,
      modelIndex: event.index,
      // Some servers leave the id out; the next turn needs one to tie the result to the call.
      callId: event.callId ?? newId('call').replace('fc_', 'call_'),
      name: event.name ?? '',
      arguments: event.arguments,
    };
    this.#open = open;
    return allOf(
      closing,
      this.#relay({ type: 'opened', index: open.index, item: callItem({ ...open, arguments: '' }, 'incomplete') }),
      open.arguments === ''
        ? undefined
        : this.#relay({ type: 'arguments', index: open.index, itemId: open.id, delta: open.arguments }),
    );
  }

  #addCitation(citation: Citation): void | Promise<void> {
    const open = this.#open;
    if (open?.kind !== 'message') return;
    open.citations.push(citation);
    return this.#relay({ type: 'cited', index: open.index, itemId: open.id, citation });
  }
}

function messageItem(open: OpenMessage, status: ItemStatus): MessageItem {
  const citations = open.citations.length === 0 ? {} : { citations: [...open.citations] };
  const part: ContentPart =
    open.part === 'text' ? { type: 'text', text: open.text, ...citations } : { type: 'refusal', text: open.text };
  return { kind: 'message', id: open.id, role: 'assistant', content: [part], status };
}

function callItem(open: OpenCall, status: ItemStatus): CallItem {
  return { kind: 'call', id: open.id, callId: open.callId, name: open.name, arguments: open.arguments, status };
}

/** One promise for several, and none where none waits: the common case costs no microtask. */
function allOf(...pending: (void | Promise<void>)[]): void | Promise<void> {
  const waiting = pending.filter((one) => one !== undefined);
  return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => undefined);
}
