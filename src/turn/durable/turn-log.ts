import type { DeltaEvent, TurnEvent } from '#conversation';
import type { Id, UsherError } from '#base';
import type { SubjectId, TenantId } from '#access';
import type { EventBatch, NewEvents } from '#store';
import type { SubjectVault } from '#vault';
import type { Relay } from '../answer/answer.ts';
import type { EventSource, EventWriter } from './event-writer.ts';
import type { TurnLease } from './turn-leases.ts';

/**
 * Deltas that may have been told and are not durable. When a node dies no more than these are lost,
 * so whoever goes on with the turn can number its events beyond all that were ever told.
 */
export const deltasAheadMax = 64;

interface Untold {
  readonly event: TurnEvent;
  readonly seq: number;
  readonly told: () => void;
}

export interface TurnLogOptions {
  readonly turn: Id<'turn'>;
  readonly tenant: TenantId;
  readonly subject: SubjectId;
  readonly vault: SubjectVault;
  readonly lease: TurnLease;
  readonly writer: EventWriter;
  /** Of the first event told here. */
  readonly firstSeq: number;
  readonly relay: Relay;
  readonly isFollowed: () => boolean;
  /** More is durable than before. */
  readonly changed: () => void;
  readonly cancel: () => void;
  readonly nowMs: () => number;
}

/**
 * The events of a stored turn on their way to whoever listens and into the store. What gives an
 * answer its structure (items opened and closed, tools run, a restart) is durable before it is
 * told; deltas of the open item are told at once and become durable within moments, `deltasAheadMax`
 * of them at the most.
 */
export class TurnLog implements EventSource {
  readonly turn: Id<'turn'>;
  readonly #options: TurnLogOptions;
  /** Of the next event. */
  #seq: number;
  /** Not handed to the store yet, and under way there. */
  #pending: TurnEvent[] = [];
  #underWay: { readonly events: readonly TurnEvent[]; readonly batch: EventBatch } | undefined;
  /** Whether the batch under way may be in the store although nobody said so: it is sent again as it was. */
  #isUnsure = false;
  #durableSeq: number;
  #untold: Untold[] = [];
  #deltasAhead = 0;
  #idle: (() => void) | undefined;
  #isClosed = false;
  /** Why the store did not take the last batch. */
  failure: UsherError | undefined;

  constructor(options: TurnLogOptions) {
    this.turn = options.turn;
    this.#options = options;
    this.#seq = options.firstSeq;
    this.#durableSeq = options.firstSeq - 1;
    options.lease.lost.addEventListener('abort', this.#abandon, { once: true });
  }

  get isFollowed(): boolean {
    return this.#options.isFollowed();
  }

  readonly tell: Relay = (event) => {
    const { lease, writer, relay } = this.#options;
    if (!lease.isHeld()) return undefined;
    const seq = this.#seq++;
    this.#pending.push(event);
    if (this.#untold.length === 0 && isDelta(event) && this.#deltasAhead < deltasAheadMax) {
      this.#deltasAhead += 1;
      if (this.#deltasAhead > deltasAheadMax / 2) writer.now(this);
      else writer.soon(this);
      return relay(event);
    }
    writer.now(this);
    return new Promise((told) => this.#untold.push({ event, seq, told }));
  };

  take(): EventBatch | undefined {
    if (this.#isClosed) return undefined;
    if (this.#underWay !== undefined) {
      if (!this.#isUnsure) return undefined;
      this.#isUnsure = false;
      return this.#underWay.batch;
    }
    if (this.#pending.length === 0) return undefined;
    const events = this.#pending;
    this.#pending = [];
    const { tenant, subject, lease, nowMs } = this.#options;
    const common = { tenant, subject, turn: this.turn, epoch: lease.epoch, createdAtMs: nowMs() };
    this.#underWay = { events, batch: { ...this.#seal(events), ...common } };
    return this.#underWay.batch;
  }

  settled(result: 'written' | 'refused'): void {
    const events = this.#underWay?.events ?? [];
    this.#underWay = undefined;
    this.failure = undefined;
    if (result === 'written') this.#advance(events.length);
    else this.#options.lease.lose();
    // What came meanwhile: a delta may wait for others, what somebody waits for may not.
    if (this.#untold.length > 0) this.#options.writer.now(this);
    else if (this.#pending.length > 0) this.#options.writer.soon(this);
    this.#idle?.();
  }

  failed(error: UsherError): void {
    this.failure = error;
    this.#isUnsure = true;
    // No later try would be another: there is no room, or this node has closed its store.
    if (error.code === 'storage_full' || error.code === 'shutting_down') this.#options.lease.lose();
  }

  cancelAsked(): void {
    this.#options.cancel();
  }

  /**
   * What is still to be written, for the transaction that ends the turn; undefined for nothing. Waits
   * for what is under way, or until the lease is lost.
   */
  async last(): Promise<NewEvents | undefined> {
    while (this.#underWay !== undefined && this.#options.lease.isHeld()) {
      await new Promise<void>((idle) => {
        this.#idle = idle;
      });
    }
    this.#options.writer.forget(this);
    return this.#pending.length === 0 ? undefined : this.#seal(this.#pending);
  }

  /** The turn is left to others: what was told of it becomes durable first, as long as this node may write it. */
  async leave(): Promise<void> {
    while (this.#pending.length > 0 && this.#options.lease.isHeld()) {
      this.#options.writer.now(this);
      await new Promise<void>((idle) => {
        this.#idle = idle;
      });
    }
  }

  /** Nothing more is written, whatever is left. */
  close(): void {
    this.#isClosed = true;
    this.#options.writer.forget(this);
    this.#options.lease.lost.removeEventListener('abort', this.#abandon);
  }

  /** All is durable, by that transaction: what waited is told. */
  end(): void {
    const events = this.#pending;
    this.#pending = [];
    this.#advance(events.length);
  }

  /** The first of `events` has the number after the last durable one. */
  #seal(events: readonly TurnEvent[]): NewEvents {
    const firstSeq = this.#durableSeq + 1;
    const place = eventsPlace(this.turn, this.#options.lease.epoch, firstSeq);
    const content = this.#options.vault.seal(place, JSON.stringify(events));
    return { firstSeq, lastSeq: firstSeq + events.length - 1, content };
  }

  #advance(count: number): void {
    this.#durableSeq += count;
    const untold = this.#untold.filter(({ event, seq }) => seq > this.#durableSeq && isDelta(event));
    this.#deltasAhead = this.#pending.filter(isDelta).length - untold.length;
    this.#options.changed();
    for (let next = this.#untold[0]; next !== undefined && this.#mayTell(next); next = this.#untold[0]) {
      this.#untold.shift();
      if (next.seq > this.#durableSeq) this.#deltasAhead += 1;
      void Promise.resolve(this.#options.relay(next.event)).then(next.told);
    }
  }

  #mayTell({ event, seq }: Untold): boolean {
    return seq <= this.#durableSeq || (isDelta(event) && this.#deltasAhead < deltasAheadMax);
  }

  /** This node may tell no more: whoever waits must not wait for ever. */
  readonly #abandon = (): void => {
    this.#options.writer.forget(this);
    for (const { told } of this.#untold) told();
    this.#untold = [];
    this.#pending = [];
    this.#idle?.();
  };
}

export function eventsPlace(turn: Id<'turn'>, epoch: number, firstSeq: number): { table: string; row: string } {
  return { table: 'turn_events', row: `${turn}/${epoch}/${firstSeq}` };
}

const deltas: ReadonlySet<TurnEvent['type']> = new Set<DeltaEvent['type']>([
  'text',
  'refusal',
  'reasoning',
  'cited',
  'arguments',
]);

function isDelta(event: TurnEvent): event is DeltaEvent {
  return deltas.has(event.type);
}
