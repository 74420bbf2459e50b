import { expect } from 'vitest';
import { newId, UsherError, type Id, type Random } from '#base';
import type { SubjectId, TenantId } from '#access';
import { noUsage, replay, type CompactionItem, type Replayed, type TurnEvent } from '#conversation';
import type { ClaimedTurn, EventBatch, HeldTurn } from '#store';
import type { Telemetry } from '#telemetry';
import type { Sealed, SubjectVault } from '#vault';
import { Answer } from '../answer/answer.ts';
import type { PendingTool } from '../answer/told-items.ts';
import { bridge } from './bridge.ts';
import { EventWriter } from './event-writer.ts';
import { conclude, handoverSource, handoverTool } from '../answer/hand-over.ts';
import { TurnLeases, turnLeaseMs } from './turn-leases.ts';
import { TurnLog } from './turn-log.ts';

/* The parts that `turn-log.simulation.test.ts` puts together. */

const tokens = Array.from({ length: 40 }, (_, index) => `t${index} `);
export const whole = tokens.join('');
const turn = newId('turn');
const telemetry = { storeFailed() {}, staleWriteRefused() {} } as unknown as Telemetry;
const clock = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };
/** What is sealed is of no concern here. */
const vault = {
  seal: (_place, content) => Buffer.from(content) as unknown as Sealed,
} as SubjectVault;

export const announced = 'A person will answer you here. ';
export const replied = 'You get your money back.';
export const compactedUsage = { ...noUsage, inputTokens: 7 };
export const deltas: readonly TurnEvent['type'][] = ['text', 'refusal', 'arguments', 'cited'];

/** What one seed's turn is like, whoever carries it out. */
export interface Shape {
  readonly compacts: boolean;
  /** What the model calls before it answers; a person answers in its place. */
  readonly calls: 'nothing' | 'tool' | 'person';
  /** When the person answers, and whether it is they, or the words for the case that nobody comes. */
  readonly personMs: number;
  readonly operator: string | undefined;
  /** Whether somebody hears the turn from the store: the writer then hurries. */
  readonly isFollowed: () => boolean;
  readonly pace: 'followed' | 'alone' | 'changing';
}

export function shapeOf(random: Random): Shape {
  const [calling, following] = [random(), random()];
  const pace = following < 0.3 ? 'followed' : following < 0.6 ? 'alone' : 'changing';
  return {
    compacts: random() < 0.4,
    calls: calling < 0.4 ? 'nothing' : calling < 0.7 ? 'tool' : 'person',
    personMs: Date.now() + random() * 12_000,
    operator: random() < 0.5 ? 'Mira' : undefined,
    isFollowed: () => (pace === 'changing' ? random() < 0.5 : pace === 'followed'),
    pace,
  };
}

/** The rows of one turn, and the rules by which they change. */
export class Database {
  owner: Id<'node'> | undefined;
  epoch = 0;
  attempts = 0;
  leaseUntilMs = 0;
  isFinished = false;
  /** How often the tool, which is not idempotent, had its effect; and how often a summary was asked for. */
  effects = 0;
  /** From when the first delta of a batch was told to when it was durable, at the longest. */
  lagMs = 0;
  readonly toldAtMs = new Map<number, number>();
  readonly rows: (EventBatch & { readonly events: readonly TurnEvent[] })[] = [];

  append(batches: readonly EventBatch[]): readonly HeldTurn[] {
    const accepted = batches.filter((batch) => this.#accept(batch));
    return accepted.map(({ epoch }) => ({ turn, epoch, cancelAsked: false, isHeard: true }));
  }

  #accept(batch: EventBatch): boolean {
    if (this.isFinished || batch.epoch !== this.epoch) return false;
    const events = JSON.parse(Buffer.from(batch.content).toString()) as TurnEvent[];
    const same = this.rows.find(({ epoch, firstSeq }) => epoch === batch.epoch && firstSeq === batch.firstSeq);
    // Sent again, since nobody said whether it came: then it is the same to the letter.
    if (same !== undefined) {
      expect(events).toEqual(same.events);
      return true;
    }
    const last = this.rows.at(-1);
    // One log: every batch begins where the one before ended, whoever wrote it.
    expect(batch.firstSeq).toBe((last?.lastSeq ?? 0) + 1);
    expect(batch.lastSeq - batch.firstSeq + 1).toBe(events.length);
    this.rows.push({ ...batch, events });
    const deltaAt = events.findIndex(({ type }) => deltas.includes(type));
    const toldAtMs = deltaAt === -1 ? undefined : this.toldAtMs.get(batch.firstSeq + deltaAt);
    if (toldAtMs !== undefined) this.lagMs = Math.max(this.lagMs, Date.now() - toldAtMs);
    return true;
  }

  claim(owner: Id<'node'>): readonly ClaimedTurn[] {
    if (this.isFinished || this.leaseUntilMs >= Date.now()) return [];
    this.owner = owner;
    this.epoch += 1;
    this.attempts += 1;
    this.leaseUntilMs = Date.now() + turnLeaseMs;
    return [{ tenant: 'north' as TenantId, turn, epoch: this.epoch, attempts: this.attempts }];
  }

  renew(owner: Id<'node'>): readonly HeldTurn[] {
    if (this.isFinished || owner !== this.owner) return [];
    this.leaseUntilMs = Date.now() + turnLeaseMs;
    return [{ turn, epoch: this.epoch, cancelAsked: false, isHeard: true }];
  }

  endLease(owner: Id<'node'>, epoch: number): void {
    if (!this.isFinished && owner === this.owner && epoch === this.epoch) this.leaseUntilMs = 0;
  }

  finish(epoch: number, events: EventBatch | undefined): boolean {
    if (this.isFinished || epoch !== this.epoch) return false;
    if (events !== undefined) expect(this.#accept(events)).toBe(true);
    this.isFinished = true;
    return true;
  }

  get told(): TurnEvent[] {
    return this.rows.flatMap(({ events }) => events);
  }
}

/** The way from a node to the database: slow, and closed at times. What was sent may arrive although the sender hears nothing. */
class Network {
  isCut = false;
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  async call<T>(run: () => T): Promise<T> {
    await sleep(this.#random() * 30);
    if (this.isCut && this.#random() < 0.5) throw away();
    const answer = run();
    await sleep(this.#random() * 30);
    if (this.isCut) throw away();
    return answer;
  }
}

function away(): UsherError {
  return new UsherError('storage_unavailable', 'The network is cut.');
}

export class SimulatedNode {
  readonly network: Network;
  readonly #database: Database;
  readonly #random: Random;
  readonly #leases: TurnLeases;
  readonly #writer: EventWriter;
  readonly #hear: (event: TurnEvent) => void;
  readonly #shape: Shape;
  isDead = false;

  constructor(database: Database, random: Random, shape: Shape, hear: (event: TurnEvent) => void) {
    this.network = new Network(random);
    this.#database = database;
    this.#random = random;
    this.#hear = hear;
    this.#shape = shape;
    const over = <T>(run: () => T): Promise<T> => this.network.call(run);
    this.#leases = new TurnLeases(
      {
        renewTurns: (owner) => over(() => (this.isDead ? [] : database.renew(owner))),
        endLease: (owner, _turn, epoch) => over(() => database.endLease(owner, epoch)),
        expireLeases: () => Promise.resolve(),
      },
      clock,
      telemetry,
    );
    this.#writer = new EventWriter({ appendEvents: (batches) => over(() => database.append(batches)) }, telemetry);
  }

  async work(): Promise<void> {
    while (!this.#database.isFinished && !this.isDead) {
      await sleep(200 + this.#random() * 400);
      const begunAtMs = performance.now();
      const claimed = await this.network
        .call(() => (this.isDead ? [] : this.#database.claim(this.#leases.owner)))
        .catch(() => []);
      for (const one of claimed) await this.#run(one, begunAtMs).catch(() => undefined);
    }
  }

  async #run({ epoch }: ClaimedTurn, begunAtMs: number): Promise<void> {
    const told = await this.network.call(() => this.#database.told);
    const from = replay(told);
    const lease = this.#leases.hold(turn, epoch, begunAtMs, () => undefined);
    let seq = told.length;
    const log = new TurnLog({
      isFollowed: this.#shape.isFollowed,
      turn,
      tenant: 'north' as TenantId,
      subject: 'ann' as SubjectId,
      vault,
      lease,
      writer: this.#writer,
      firstSeq: told.length + 1,
      relay: (event) => {
        // Neither a dead node nor one that another has followed is heard.
        if (!this.isDead) this.#hear(event);
      },
      changed: () => undefined,
      cancel: () => undefined,
      nowMs: () => Date.now(),
    });
    try {
      const tell: typeof log.tell = (event) => {
        this.#database.toldAtMs.set((seq += 1), Date.now());
        return log.tell(event);
      };
      bridge(from, tell);
      const answer = new Answer(tell, { from, toolOf });
      await this.#answer(answer, from, () => lease.isHeld() && !this.isDead);
      if (!lease.isHeld() || this.isDead) return;
      await answer.close('completed');
      const last = await log.last();
      if (!lease.isHeld() || this.isDead) return;
      const events = last && {
        ...last,
        tenant: 'north' as TenantId,
        turn,
        subject: 'ann' as SubjectId,
        epoch,
        createdAtMs: 0,
      };
      if (await this.network.call(() => this.#database.finish(epoch, events))) log.end();
    } finally {
      lease.release();
    }
  }

  /** In the order of a real one: what is too long is compacted, then the model calls, and answers. */
  async #answer(answer: Answer, from: Replayed, isOurs: () => boolean): Promise<void> {
    const { calls, compacts } = this.#shape;
    const hasBegun = from.nextIndex > 0 || from.steps > 0;
    if (compacts && !hasBegun) {
      await sleep(this.#random() * 1500);
      if (!isOurs()) return;
      await answer.compact(newCompaction(), compactedUsage);
    }
    if (calls !== 'nothing' && from.steps === 0)
      await this.#call(answer, calls === 'tool' ? 'book' : handoverTool.name);
    for (const pending of answer.pending) {
      if (!isOurs()) return;
      await (pending.item.source === handoverSource ? this.#await : this.#use)(answer, pending, isOurs);
    }
    if (isOurs() && calls !== 'person') await this.#speak(answer, isOurs);
  }

  async #call(answer: Answer, name: string): Promise<void> {
    if (answer.begun) await answer.restart();
    for (const piece of ['{"seat"', ':7', '}']) {
      await answer.add({ type: 'call', index: 0, callId: 'call_1', name, arguments: piece });
      await sleep(this.#random() * 60);
    }
    await answer.endStep({ usage: noUsage, backend: null });
  }

  readonly #use = async (answer: Answer, pending: PendingTool, isOurs: () => boolean): Promise<void> => {
    if (pending.acting) return answer.settle(pending, { output: null, error: 'Not known.' });
    await answer.act(pending);
    if (!isOurs()) return;
    this.#database.effects += 1;
    await sleep(this.#random() * 2500);
    if (isOurs()) await answer.settle(pending, { output: 'booked', error: null });
  };

  /** Pending for as long as it takes, over however many nodes. */
  readonly #await = async (answer: Answer, pending: PendingTool, isOurs: () => boolean): Promise<void> => {
    if (!pending.acting) await answer.act(pending);
    if (!answer.items.some(({ kind }) => kind === 'message')) await answer.say(announced);
    const { personMs, operator } = this.#shape;
    while (isOurs() && Date.now() < personMs) await sleep(500);
    const said = { text: replied, output: 'answered', ...(operator === undefined ? {} : { operator }) };
    if (isOurs()) await conclude(answer, pending, said);
  };

  /** The model says the same whoever asks; half of the backends can go on with what is there. */
  async #speak(answer: Answer, isOurs: () => boolean): Promise<void> {
    const { prefix } = answer;
    const goesOn = prefix !== undefined && this.#random() < 0.5;
    let rest = whole;
    if (answer.begun && goesOn) {
      await answer.resume();
      rest = whole.slice(prefix.length);
    } else if (answer.begun) await answer.restart();
    while (rest !== '') {
      await sleep(this.#random() < 0.05 ? 1500 : this.#random() * 60);
      if (!isOurs()) return;
      const length = 1 + Math.floor(this.#random() * 6);
      await answer.add({ type: 'text', text: rest.slice(0, length) });
      rest = rest.slice(length);
    }
  }
}

const toolOf = (name: string) => ({ source: name === handoverTool.name ? handoverSource : 'http', asksFirst: false });

function newCompaction(): CompactionItem {
  return { kind: 'compaction', id: newId('compaction'), sealed: 'c2VhbGVk', covers: null, status: 'completed' };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
