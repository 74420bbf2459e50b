import { UsherError } from '#base';
import type { Item, StartedTurn, TurnEvent, TurnOutcome, Usage } from '#conversation';
import { runTurn, type TurnRequest, type TurnRooms } from '#turn';
import type { EventStream, Exchange } from '../exchange.ts';
import { rescue, type ErrorBody } from '../rescue.ts';

/** Turns one turn's events into event blocks of a wire. */
export interface StreamWriter {
  /** The blocks for one event; '' for none yet. */
  write(event: TurnEvent): string;
  /** In-band failure, for a wire whose terminal event does not say it; '' where it did. */
  failure(body: ErrorBody): string;
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

/** Runs a turn to its end. @throws UsherError where it failed, with the code it failed with */
export async function answerWhole(rooms: TurnRooms, exchange: Exchange, request: TurnRequest): Promise<WholeAnswer> {
  let turn: StartedTurn | undefined;
  const items: Item[] = [];
  const relay = (event: TurnEvent): void => {
    if (event.type === 'started') turn = event.turn;
    if (event.type === 'closed') items.push(event.item);
  };
  const { outcome, usage, finishedAtMs } = await runTurn(rooms, request, relay, exchange.signal);
  if (turn === undefined) throw new UsherError('internal', 'The turn ended before it started.');
  if (outcome.state === 'failed') throw failureOf(outcome);
  if (outcome.state === 'cancelled')
    throw new UsherError('client_gone', 'The client left before the answer was whole.');
  exchange.setHeader('x-usher-release', turn.release);
  return { turn, items, outcome, usage, finishedAtMs };
}

/**
 * Streams a turn. Until the wire has something to say, failure is still an HTTP status; after it, an
 * in-band event and a torn connection, so that nobody takes the rest for the whole.
 */
export async function answerStreamed(
  rooms: TurnRooms,
  exchange: Exchange,
  request: TurnRequest,
  writer: StreamWriter,
): Promise<void> {
  let stream: EventStream | undefined;
  let keepAlive: NodeJS.Timeout | undefined;
  let isTold = false;
  const relay = (event: TurnEvent): void | Promise<void> => {
    if (event.type === 'started') exchange.setHeader('x-usher-release', event.turn.release);
    isTold = event.type === 'finished';
    const block = writer.write(event);
    if (block === '') return;
    if (stream === undefined) {
      const opened = exchange.openStream();
      stream = opened;
      keepAlive = setInterval(() => void opened.write(': keep-alive\n\n'), keepAliveMs);
    } else keepAlive?.refresh();
    return stream.write(block);
  };
  try {
    const { outcome } = await runTurn(rooms, request, relay, exchange.signal);
    // Without its terminal event a stream never ends cleanly, whatever became of the turn.
    if (stream !== undefined && !isTold) stream.destroy();
    else await finishStream(exchange, stream, outcome, writer);
  } catch (error) {
    if (stream === undefined) throw error;
    stream.destroy();
    throw error;
  } finally {
    clearInterval(keepAlive);
  }
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
