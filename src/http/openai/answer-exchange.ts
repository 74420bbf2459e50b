import { UsherError } from '#base';
import {
  nothingTold,
  replay,
  type Item,
  type StartedTurn,
  type TurnEvent,
  type TurnOutcome,
  type Usage,
} from '#conversation';
import type { FinishedEvent, Relay } from '#turn';
import type { EventStream, Exchange } from '../exchange.ts';
import { rescue, type ErrorBody } from '../rescue.ts';

/** Turns one turn's events into event blocks of a wire. */
export interface StreamWriter {
  /** The blocks for one event; '' for none yet. */
  write(event: TurnEvent): string;
  /** In-band failure, for a wire whose terminal event does not say it; '' where it did. */
  failure(body: ErrorBody): string;
  /** Whether its terminal event says that a turn was cancelled. */
  readonly tellsCancelled: boolean;
}

/** A proxy on the way gives up on silence after 30 s or more; a comment every 15 s is below all of them. */
const keepAliveMs = 15_000;

/** A whole answer, for the wires without streaming. */
export interface WholeAnswer {
  readonly turn: StartedTurn;
  readonly items: readonly Item[];
  readonly outcome: TurnOutcome;
  readonly usage: Usage;
  readonly finishedAtMs: number;
}

/** Tells the events of a turn to `relay` and settles with its last. */
export type Telling = (relay: Relay) => Promise<FinishedEvent>;

/** Hears a turn to its end. @throws UsherError where it failed, with the code it failed with */
export async function answerWhole(telling: Telling): Promise<WholeAnswer> {
  let turn: StartedTurn | undefined;
  let heard = nothingTold;
  const { outcome, usage, finishedAtMs } = await telling((event) => {
    if (event.type === 'started') turn = event.turn;
    if (event.type === 'closed' || event.type === 'compacted' || event.type === 'restarted')
      heard = replay([event], heard);
  });
  if (turn === undefined) throw new UsherError('internal', 'The turn ended before it started.');
  if (outcome.state === 'failed') throw failureOf(outcome);
  return { turn, items: heard.kept.map(({ item }) => item), outcome, usage, finishedAtMs };
}

/** One turn to be streamed, and what turns its events into blocks. */
export interface Voice {
  readonly writer: StreamWriter;
  readonly telling: Telling;
}

/**
 * Streams a turn, or several into one stream as their events come. Until the wire has something to
 * say, failure is still an HTTP status; after it, an in-band event and a torn connection, so that
 * nobody takes the rest for the whole. Settles with the first turn that breaks; the others are the
 * caller's to stop.
 */
export async function answerStreamed(exchange: Exchange, voices: readonly Voice[]): Promise<void> {
  const opened = new OpenedStream(exchange);
  try {
    const { outcome, isTold, writer } = await brokenOrLast(voices.map((voice) => hear(exchange, opened, voice)));
    // Without its terminal event a stream never ends cleanly, whatever became of the turn.
    if (opened.stream !== undefined && !isTold) opened.stream.destroy();
    else await finishStream(exchange, opened.stream, outcome, writer);
  } catch (error) {
    opened.stream?.destroy();
    throw error;
  } finally {
    opened.close();
  }
}

/** Opened with its first block, and kept alive from then on. */
class OpenedStream {
  stream: EventStream | undefined;
  readonly #exchange: Exchange;
  #keepAlive: NodeJS.Timeout | undefined;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  write(block: string): void | Promise<void> {
    if (this.stream === undefined) {
      const opened = this.#exchange.openStream();
      this.stream = opened;
      this.#keepAlive = setInterval(() => void opened.write(': keep-alive\n\n'), keepAliveMs);
    } else this.#keepAlive?.refresh();
    return this.stream.write(block);
  }

  close(): void {
    clearInterval(this.#keepAlive);
  }
}

interface Heard {
  readonly outcome: TurnOutcome;
  /** Whether its last event was told. */
  readonly isTold: boolean;
  readonly writer: StreamWriter;
}

async function hear(exchange: Exchange, opened: OpenedStream, { writer, telling }: Voice): Promise<Heard> {
  let isTold = false;
  let unwritable: unknown;
  const relay: Relay = (event) => {
    if (unwritable !== undefined) return undefined;
    if (event.type === 'started' && opened.stream === undefined) {
      exchange.setHeader('x-usher-release', event.turn.release);
    }
    isTold = event.type === 'finished';
    let block: string;
    try {
      block = writer.write(event);
    } catch (error) {
      // This wire has no word for what became of the answer: the listener is lost, the turn is not.
      unwritable = error;
      return Promise.reject(error instanceof Error ? error : new Error('unwritable'));
    }
    return block === '' ? undefined : opened.write(block);
  };
  const { outcome } = await telling(relay);
  if (unwritable === undefined) return { outcome, isTold, writer };
  if (!(unwritable instanceof UsherError)) throw unwritable;
  const { code, message } = unwritable;
  return { outcome: { state: 'failed', code, message }, isTold: true, writer };
}

function isBroken({ outcome }: Heard): boolean {
  return outcome.state === 'failed' || outcome.state === 'cancelled';
}

/** The first that broke, or where none does the last of all. */
function brokenOrLast(hearing: readonly Promise<Heard>[]): Promise<Heard> {
  return new Promise((resolve, reject) => {
    for (const each of hearing) void each.then((heard) => isBroken(heard) && resolve(heard), reject);
    void Promise.all(hearing).then((all) => resolve(all.find(({ isTold }) => !isTold) ?? all.at(-1)!), reject);
  });
}

async function finishStream(
  exchange: Exchange,
  stream: EventStream | undefined,
  outcome: TurnOutcome,
  writer: StreamWriter,
): Promise<void> {
  switch (outcome.state) {
    case 'completed':
    case 'incomplete':
      return stream?.end();
    case 'cancelled':
      if (writer.tellsCancelled) return stream?.end();
      stream?.destroy();
      return;
    case 'failed': {
      if (stream === undefined) throw failureOf(outcome);
      const block = writer.failure(rescue(failureOf(outcome), exchange.requestId).body);
      if (block === '') return stream.end();
      await stream.write(block);
      return stream.destroy();
    }
  }
}

function failureOf(outcome: Extract<TurnOutcome, { state: 'failed' }>): UsherError {
  const { code, message, retryAfterMs } = outcome;
  return new UsherError(code, message, retryAfterMs === undefined ? {} : { retryAfterMs });
}
