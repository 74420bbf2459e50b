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

interface BegunCall {
  readonly kind: 'call';
  readonly id: Id<'call'>;
  readonly modelIndex: number;
  readonly callId: string;
  readonly name: string;
  arguments: string;
}

interface OpenCall extends BegunCall {
  readonly index: number;
}

/**
 * Builds an answer's items from a model's pieces and relays each piece on its way: per item
 * `opened`, deltas, `closed`; one item open at a time. Some servers mix the pieces of parallel
 * calls: a call that begins before the arguments of the open one are whole waits for its turn.
 */
export class Answer {
  readonly items: Item[] = [];
  #open: OpenMessage | OpenCall | undefined;
  /** By the model's index, in the order in which they began. */
  readonly #waiting = new Map<number, BegunCall>();
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

  /** Closes what is under way: whole, or cut short. */
  close(status: ItemStatus): void | Promise<void> {
    const closing = this.#closeOpen(status);
    if (this.#waiting.size === 0) return closing;
    const pending = [closing];
    for (const call of this.#waiting.values()) pending.push(this.#openCall(call), this.#closeOpen(status));
    this.#waiting.clear();
    return allOf(...pending);
  }

  #closeOpen(status: ItemStatus): void | Promise<void> {
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
      return allOf(
        this.#relay({ type: 'arguments', index: open.index, itemId: open.id, delta: event.arguments }),
        this.#openWaiting(),
      );
    }
    const waiting = this.#waiting.get(event.index);
    if (waiting !== undefined) {
      waiting.arguments += event.arguments;
      return;
    }
    this.#waiting.set(event.index, begunCall(event));
    return this.#openWaiting();
  }

  /** Opens the calls whose turn it is: each once the one before it is whole. */
  #openWaiting(): void | Promise<void> {
    const pending: (void | Promise<void>)[] = [];
    for (const [modelIndex, call] of this.#waiting) {
      if (this.#open?.kind === 'call' && !isWhole(this.#open.arguments)) break;
      this.#waiting.delete(modelIndex);
      pending.push(this.#openCall(call));
    }
    return allOf(...pending);
  }

  #openCall(call: BegunCall): void | Promise<void> {
    const closing = this.#closeOpen('completed');
    const open: OpenCall = { ...call, index: this.items.length };
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

function begunCall(event: Extract<ModelEvent, { type: 'call' }>): BegunCall {
  return {
    kind: 'call',
    id: newId('call'),
    modelIndex: event.index,
    // Some servers leave the id out; the next turn needs one to tie the result to the call.
    callId: event.callId ?? newId('call').replace('fc_', 'call_'),
    name: event.name ?? '',
    arguments: event.arguments,
  };
}

/** Whether arguments have come to their end: they are one JSON value. */
function isWhole(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** One promise for several, and none where none waits: the common case costs no microtask. */
function allOf(...pending: (void | Promise<void>)[]): void | Promise<void> {
  const waiting = pending.filter((one) => one !== undefined);
  return waiting.length === 0 ? undefined : Promise.all(waiting).then(() => undefined);
}
