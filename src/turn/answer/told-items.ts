import type { Item, Placed, Replayed, ToolItem } from '#conversation';

/** A call of one of the assistant's own tools whose arguments are whole. */
export interface PendingTool extends Placed<ToolItem> {
  /** Whether it was about to be run when its node was lost: it may have had its effect. */
  readonly acting: boolean;
}

/** The items of an answer that no model writes on any more: those that count, and calls whose outcome is awaited. */
export class ToldItems {
  #kept: readonly Placed[];
  #pending: readonly PendingTool[];
  #next: number;
  #stepFrom: number;

  constructor({ kept, pending, nextIndex, stepFrom }: Replayed) {
    this.#kept = kept;
    this.#pending = pending;
    this.#next = nextIndex;
    this.#stepFrom = stepFrom;
  }

  /** Those that count, in order. */
  get items(): readonly Item[] {
    return this.#kept.map(({ item }) => item);
  }

  /** Those of earlier answers of models in this turn. */
  get earlierItems(): readonly Item[] {
    return this.#kept.filter(({ index }) => index < this.#stepFrom).map(({ item }) => item);
  }

  get pending(): readonly PendingTool[] {
    return this.#pending;
  }

  /** The first place of the present answer of a model. */
  get stepFrom(): number {
    return this.#stepFrom;
  }

  /** How many items were begun. */
  get begun(): number {
    return this.#next;
  }

  /** Whether the present answer of a model has such an item. */
  stepHas(isSuch: (item: Item) => boolean): boolean {
    return [...this.#kept, ...this.#pending].some(({ index, item }) => index >= this.#stepFrom && isSuch(item));
  }

  /** The place of an item that begins now. */
  begin(): number {
    return this.#next++;
  }

  keep(index: number, item: Item): void {
    this.#pending = this.#pending.filter((call) => call.index !== index);
    this.#kept = [...this.#kept, { index, item }].sort((one, other) => one.index - other.index);
  }

  await(index: number, item: ToolItem): void {
    this.#pending = [...this.#pending, { index, item, acting: false }];
  }

  /** What follows is the next answer of a model. */
  endStep(): void {
    this.#stepFrom = this.#next;
  }

  /** What stands from this place on counts no more. */
  drop(from: number): void {
    this.#kept = this.#kept.filter(({ index }) => index < from);
    this.#pending = this.#pending.filter(({ index }) => index < from);
  }
}
