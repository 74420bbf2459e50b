import { appendText, newId } from '#base';
import type { ModelEvent } from '#backend';
import {
  nothingTold,
  type ApprovalRequestItem,
  type Citation,
  type CompactionItem,
  type Item,
  type ItemStatus,
  type Replayed,
  type ToolItem,
  type TurnEvent,
  type Usage,
} from '#conversation';
import type { Passage } from '#release';
import { allOf } from './all-of.ts';
import { Citer, MarkScanner } from './citation-marks.ts';
import {
  approvalRequestItem,
  approvedCall,
  begunCall,
  begunItem,
  callItem,
  cancelledTool,
  deltaOf,
  grow,
  isOpenCall,
  isWhole,
  messageItem,
  openedCall,
  reasoningItem,
  reopened,
  toolItem,
  type BegunCall,
  type Open,
  type OpenAnyCall,
  type OpenMessage,
  type OwnTool,
  type OpenReasoning,
} from './open-item.ts';
import { ToldItems, type PendingTool } from './told-items.ts';

/**
 * Where a turn's events go, in order, also while an earlier promise is pending. A returned promise
 * is backpressure; a rejection means that nobody listens any more.
 */
export type Relay = (event: TurnEvent) => void | Promise<void>;

/** A model that never stops is stopped here: about half a million tokens. */
const charactersMax = 2_000_000;
/** Each item costs kilobytes however short it is; a whole answer has a message and up to 128 calls. */
const itemsMax = 512;

export interface AnswerOptions {
  /** A tool of the assistant's own by its name; undefined for a function of the caller. */
  readonly toolOf?: (name: string) => OwnTool | undefined;
  /**
   * Passages that stand before the model under a number, from 1 on; together with those that its searches
   * find, they are what its marks mean. Undefined: it was not told to mark any.
   */
  readonly sources?: readonly Passage[] | undefined;
  /** Seals what a model thought, for a caller who wants it so. */
  readonly seal?: ((text: string) => string) | undefined;
  /** Where a turn stands that another node began. */
  readonly from?: Replayed;
}

/**
 * Builds an answer's items from the pieces of one or several answers of a model, and relays each
 * piece on its way: per item `opened`, deltas, `closed`; one item open at a time. Some servers mix
 * the pieces of parallel calls: a call that begins before the arguments of the open one are whole
 * waits for its turn.
 */
export class Answer {
  readonly #told: ToldItems;
  #open: Open | undefined;
  /** By the model's index, in the order in which they began. */
  readonly #waiting = new Map<number, BegunCall>();
  #characters = 0;
  /** What was told of the open item is not known for sure: it cannot be gone on with. */
  #isTailUnknown: boolean;
  /** A model goes on with the text of another: what it thinks again is left out. */
  #goesOn = false;
  readonly #relay: Relay;
  readonly #toolOf: (name: string) => OwnTool | undefined;
  readonly #citer: Citer | undefined;
  readonly #seal: ((text: string) => string) | undefined;

  constructor(relay: Relay, { toolOf = () => undefined, sources, seal, from = nothingTold }: AnswerOptions = {}) {
    this.#relay = relay;
    this.#toolOf = toolOf;
    this.#citer = sources && new Citer(sources);
    this.#seal = seal;
    this.#told = new ToldItems(from);
    this.#open = from.open === undefined ? undefined : reopened(from.open);
    this.#isTailUnknown = from.open !== undefined;
  }

  /** The items that count and are closed, in order. */
  get items(): readonly Item[] {
    return this.#told.items;
  }

  /** Those of earlier answers of models in this turn. */
  get earlierItems(): readonly Item[] {
    return this.#told.earlierItems;
  }

  /** Whether the present answer calls a tool of the assistant's own. */
  get callsTool(): boolean {
    if (this.#open?.kind === 'tool' || this.#told.pending.length > 0) return true;
    return [...this.#waiting.values()].some(({ name }) => this.#toolOf(name)?.asksFirst === false);
  }

  get pending(): readonly PendingTool[] {
    return this.#told.pending;
  }

  /** Whether the present answer has told anything: after that, no other backend can take over unseen. */
  get begun(): boolean {
    return this.#open !== undefined || this.#told.stepHas(() => true);
  }

  /** Whether the present answer told more than what its model thought: until then nobody can tell it from another. */
  get spoke(): boolean {
    const isOpen = this.#open !== undefined && this.#open.kind !== 'reasoning';
    return isOpen || this.#told.stepHas((item) => item.kind !== 'reasoning') || this.#waiting.size > 0;
  }

  /** The text that the present answer came to, where it is nothing else: another model can go on with it. */
  get prefix(): string | undefined {
    return this.#openText === '' ? undefined : this.#openText;
  }

  /** The whole text of the present answer, where it is nothing but text. */
  get stepText(): string | undefined {
    return this.#waiting.size > 0 ? undefined : this.#openText;
  }

  get #openText(): string | undefined {
    const open = this.#open;
    if (open?.kind !== 'message' || open.part !== 'text') return undefined;
    return this.#told.stepHas((item) => item.kind !== 'reasoning') ? undefined : open.text;
  }

  /** Of what the model told that was asked last. */
  get characters(): number {
    return this.#characters;
  }

  get overlong(): boolean {
    return this.#characters > charactersMax || this.#told.begun > itemsMax;
  }

  add(event: ModelEvent): void | Promise<void> {
    switch (event.type) {
      case 'text':
        return this.#addText('text', event.text, event.logprobs);
      case 'refusal':
        return this.#addText('refusal', event.text);
      case 'reasoning':
        return this.#addReasoning(event.text);
      case 'call':
        return this.#addCall(event);
      case 'cited':
        return this.#addCitation({ source: event.source, title: event.title, start: event.start, end: event.end });
    }
  }

  /** What the present answer told counts no more: what is open of it is closed as it is, and what follows are new items. */
  restart(): void | Promise<void> {
    this.#waiting.clear();
    this.#goesOn = false;
    this.#citer?.restart();
    return this.#drop(this.#told.stepFrom);
  }

  /** Makes ready for a model that goes on with `prefix`: on the open item, or on a new one where what was told of it is unknown. */
  resume(): void | Promise<void> {
    this.#goesOn = true;
    this.#characters = 0;
    const open = this.#open;
    if (!this.#isTailUnknown || open?.kind !== 'message') return undefined;
    return allOf(this.#drop(open.index), this.#openMessage(open.part, open.text, open.logprobs));
  }

  #drop(from: number): void | Promise<void> {
    const closing = [this.#closeOpen('incomplete')];
    for (const call of this.#told.pending) if (call.index >= from) closing.push(this.#cancel(call));
    this.#told.drop(from);
    this.#characters = 0;
    return allOf(...closing, this.#relay({ type: 'restarted', index: from }));
  }

  /** What was said before is summarised: before any answer of a model begins. */
  compact(item: CompactionItem, usage: Usage): void | Promise<void> {
    const index = this.#told.begin();
    this.#told.keep(index, item);
    this.#told.endStep();
    return this.#relay({ type: 'compacted', index, item, usage });
  }

  /** A model's answer is whole: its calls of tools are pending now, and what follows is the next answer. */
  endStep(step: { readonly usage: Usage; readonly backend: string | null }): void | Promise<void> {
    const closing = this.#closeAll('completed');
    this.#told.endStep();
    this.#goesOn = false;
    this.#characters = 0;
    return allOf(closing, this.#relay({ type: 'stepped', ...step }));
  }

  /** Settles once it is durable that the tool is about to run. */
  act({ index, item }: PendingTool): void | Promise<void> {
    return this.#relay({ type: 'acting', index, itemId: item.id });
  }

  /** A whole message that no model wrote: the server's own, or that of the person `operator`. */
  say(text: string, operator?: string): void | Promise<void> {
    return allOf(this.#openMessage('text', text, undefined, { operator }), this.#closeOpen('completed'));
  }

  /** A call that the person has agreed to is pending, as if a model had made it now. */
  callApproved(request: ApprovalRequestItem): void | Promise<void> {
    const closing = this.#closeAll('completed');
    const index = this.#told.begin();
    const { begun, item } = approvedCall(request);
    this.#told.await(index, item);
    return allOf(
      closing,
      this.#relay({ type: 'opened', index, item: begun }),
      this.#relay({ type: 'arguments', index, itemId: item.id, delta: item.arguments }),
      this.#relay({ type: 'called', index, item }),
    );
  }

  /** What came of a pending tool. */
  settle(
    { index, item }: PendingTool,
    outcome: Pick<ToolItem, 'output' | 'error'>,
    status: ItemStatus = 'completed',
  ): void | Promise<void> {
    return this.#keep(index, { ...item, ...outcome, status });
  }

  /** Closes all that is under way: whole, or cut short. */
  close(status: ItemStatus): void | Promise<void> {
    const closing = this.#closeAll(status);
    return allOf(closing, ...this.#told.pending.map((call) => this.#cancel(call)));
  }

  #cancel(call: PendingTool): void | Promise<void> {
    return this.settle(call, { output: null, error: cancelledTool }, 'incomplete');
  }

  #closeAll(status: ItemStatus): void | Promise<void> {
    const closing = this.#closeOpen(status);
    if (this.#waiting.size === 0) return closing;
    const calls = [...this.#waiting.values()].flatMap((call) => [this.#openCall(call), this.#closeOpen(status)]);
    this.#waiting.clear();
    return allOf(closing, ...calls);
  }

  #closeOpen(status: ItemStatus): void | Promise<void> {
    const open = this.#open;
    if (open === undefined) return undefined;
    this.#open = undefined;
    this.#isTailUnknown = false;
    if (open.kind === 'message') return this.#keep(open.index, messageItem(open, status));
    if (open.kind === 'call') return this.#keep(open.index, callItem(open, status));
    if (open.kind === 'approval-request') {
      return status === 'completed' ? this.#keep(open.index, approvalRequestItem(open)) : undefined;
    }
    if (open.kind === 'reasoning') return this.#keep(open.index, this.#thought(open, status));
    const item = toolItem(open, status);
    if (status === 'incomplete') return this.#keep(open.index, { ...item, error: cancelledTool });
    this.#told.await(open.index, item);
    return this.#relay({ type: 'called', index: open.index, item });
  }

  #keep(index: number, item: Item): void | Promise<void> {
    this.#told.keep(index, item);
    return this.#relay({ type: 'closed', index, item });
  }

  #addText(part: 'text' | 'refusal', delta: string, logprobs?: readonly unknown[]): void | Promise<void> {
    if (delta === '') return undefined;
    this.#characters += delta.length;
    const open = this.#open;
    if (open?.kind === 'message' && open.part === part) {
      open.text = appendText(open.text, delta);
      for (const each of logprobs ?? []) open.logprobs.push(each);
      return allOf(this.#relay(deltaOf(open, delta, logprobs)), this.#citeMarks(open, delta));
    }
    return this.#openMessage(part, delta, logprobs);
  }

  #openMessage(
    part: 'text' | 'refusal',
    delta: string,
    logprobs: readonly unknown[] = [],
    said?: { readonly operator: string | undefined },
  ): void | Promise<void> {
    const closing = this.#closeAll('completed');
    const open: OpenMessage = {
      kind: 'message',
      id: newId('message'),
      index: this.#told.begin(),
      part,
      text: delta,
      citations: [],
      logprobs: [...logprobs],
      operator: said?.operator,
      scanner: new MarkScanner(),
    };
    this.#open = open;
    return allOf(
      closing,
      this.#relay({
        type: 'opened',
        index: open.index,
        item: messageItem({ ...open, text: '', logprobs: [] }, 'incomplete'),
      }),
      this.#relay(deltaOf(open, delta, logprobs)),
      said === undefined ? this.#citeMarks(open, delta) : undefined,
    );
  }

  /** Tells what the marks that are whole now refer to; the text stays as it is. */
  #citeMarks(open: OpenMessage, delta: string): void | Promise<void> {
    if (this.#citer === undefined || open.part === 'refusal') return undefined;
    const citations = this.#citer.citationsOf(open.scanner.add(delta), () => this.#told.items);
    return allOf(...citations.map((citation) => this.#addCitation(citation)));
  }

  #addReasoning(delta: string): void | Promise<void> {
    if (delta === '' || this.#goesOn) return undefined;
    this.#characters += delta.length;
    const open = this.#open;
    if (open?.kind === 'reasoning') {
      open.text = appendText(open.text, delta);
      return this.#relay({ type: 'reasoning', index: open.index, itemId: open.id, delta });
    }
    const closing = this.#closeAll('completed');
    const [itemId, index] = [newId('reasoning'), this.#told.begin()];
    const begun: OpenReasoning = { kind: 'reasoning', id: itemId, index, text: delta };
    this.#open = begun;
    return allOf(
      closing,
      this.#relay({ type: 'opened', index, item: reasoningItem({ ...begun, text: '' }, 'incomplete') }),
      this.#relay({ type: 'reasoning', index, itemId, delta }),
    );
  }

  #thought(open: OpenReasoning, status: ItemStatus): Item {
    const item = reasoningItem(open, status);
    return this.#seal === undefined ? item : { ...item, sealed: this.#seal(item.text) };
  }

  #addCall(event: Extract<ModelEvent, { type: 'call' }>): void | Promise<void> {
    this.#characters += event.arguments.length;
    const open = this.#open;
    if (isOpenCall(open) && open.modelIndex === event.index) {
      grow(open, event.arguments);
      if (event.arguments === '') return undefined;
      return allOf(this.#tellArguments(open, event.arguments), this.#openWaiting());
    }
    const waiting = this.#waiting.get(event.index);
    if (waiting !== undefined) return grow(waiting, event.arguments);
    this.#waiting.set(event.index, begunCall(event));
    return this.#openWaiting();
  }

  /** Opens the calls whose turn it is: each once the one before it is whole. */
  #openWaiting(): void | Promise<void> {
    const pending: (void | Promise<void>)[] = [];
    for (const [modelIndex, call] of this.#waiting) {
      const open = this.#open;
      if (isOpenCall(open) && !isWhole(open)) break;
      this.#waiting.delete(modelIndex);
      pending.push(this.#openCall(call));
    }
    return allOf(...pending);
  }

  #openCall(call: BegunCall): void | Promise<void> {
    const closing = this.#closeOpen('completed');
    const open = openedCall(call, this.#told.begin(), this.#toolOf(call.name));
    this.#open = open;
    if (open.kind === 'approval-request') return closing;
    return allOf(
      closing,
      this.#relay({ type: 'opened', index: open.index, item: begunItem(open) }),
      this.#tellArguments(open, open.arguments),
    );
  }

  #tellArguments(open: OpenAnyCall, delta: string): void | Promise<void> {
    if (delta === '' || open.kind === 'approval-request') return undefined;
    return this.#relay({ type: 'arguments', index: open.index, itemId: open.id, delta });
  }

  #addCitation(citation: Citation): void | Promise<void> {
    const open = this.#open;
    if (open?.kind !== 'message') return undefined;
    open.citations.push(citation);
    return this.#relay({ type: 'cited', index: open.index, itemId: open.id, citation });
  }
}
