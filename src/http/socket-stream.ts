import type { ServerResponse } from 'node:http';
import { UsherError } from '#base';
import type { EventStream } from './exchange.ts';
import { resetConnection } from './reset-connection.ts';

export interface ReaderLimits {
  /** Bytes that may wait for a slow reader before the writer has to wait too. */
  readonly sendBufferBytes: number;
  /** How long a reader with a full buffer may take to empty it. */
  readonly readerTimeoutMs: number;
}

/** A writer that does not wait is given this many buffers before its reader is dropped. */
const heedlessFactor = 4;

/**
 * An event stream over one response whose headers are written; they leave at once, with the first
 * blocks where there are any. Memory per reader is bounded: by
 * `sendBufferBytes` for a writer that waits as it is told, by four times that for one that does not.
 *
 * Blocks of one turn of the event loop leave together, as one chunk of the chunked coding (RFC 9112
 * section 7.1) and in one string: Node's own coding of it writes each block as four buffers, which
 * cost a sixth of all that a relayed chunk costs.
 */
export class SocketStream implements EventStream {
  readonly #response: ServerResponse;
  readonly #limits: ReaderLimits;
  readonly #dropped: () => void;
  /** False before a reader of HTTP/1.0, which knows no coding. */
  readonly #isChunked: boolean;
  #gathered = '';
  #gatheredBytes = 0;
  #draining: Promise<void> | undefined;
  #over = false;

  /** `dropped` is told when a reader is cut off for being too slow. */
  constructor(response: ServerResponse, limits: ReaderLimits, dropped: () => void) {
    this.#response = response;
    this.#limits = limits;
    this.#dropped = dropped;
    this.#isChunked = response.chunkedEncoding;
    response.chunkedEncoding = false;
    process.nextTick(() => {
      if (this.#gathered === '' && response.headersSent) response.flushHeaders();
    });
    response.once('close', () => {
      this.#over = true;
    });
  }

  get isOver(): boolean {
    return this.#over;
  }

  write(block: string): void | Promise<void> {
    const response = this.#response;
    if (this.#over || response.destroyed) return goneBefore;
    if (this.#gathered === '') process.nextTick(this.#send);
    this.#gathered += block;
    this.#gatheredBytes += Buffer.byteLength(block);
    if (response.writableLength + this.#gatheredBytes <= this.#limits.sendBufferBytes) return undefined;
    this.#send();
    if (!response.writableNeedDrain || response.writableLength <= this.#limits.sendBufferBytes) return undefined;
    if (response.writableLength > this.#limits.sendBufferBytes * heedlessFactor && this.#draining) this.#drop();
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#response.end(this.#take() + (this.#isChunked ? '0\r\n\r\n' : ''));
    dropUnlessRead(this.#response, this.#limits.readerTimeoutMs, this.#dropped);
  }

  /**
   * What was written is still sent: it may say why. The last chunk is missing, which tells a reader
   * that this is no end; HTTP/1.0 has none, so there it takes a reset.
   */
  destroy(): void {
    this.#send();
    this.#over = true;
    const { socket } = this.#response;
    if (socket === null) return;
    // Node hands on what was written in this turn of the event loop at its end.
    if (!this.#isChunked) setImmediate(() => resetConnection(socket));
    else {
      socket.destroySoon();
      dropUnlessRead(this.#response, this.#limits.readerTimeoutMs, this.#dropped);
    }
  }

  readonly #send = (): void => {
    const bytes = this.#take();
    if (bytes !== '' && !this.#response.destroyed) this.#response.write(bytes);
  };

  /** What was gathered, coded; '' for nothing. */
  #take(): string {
    const gathered = this.#gathered;
    const length = this.#gatheredBytes;
    this.#gathered = '';
    this.#gatheredBytes = 0;
    return this.#isChunked && length > 0 ? `${length.toString(16)}\r\n${gathered}\r\n` : gathered;
  }

  #drop(): void {
    this.#dropped();
    this.#over = true;
    if (this.#response.socket !== null) resetConnection(this.#response.socket);
  }

  #drain(): Promise<void> {
    const response = this.#response;
    const waiting = new Promise<void>((resolve, reject) => {
      const settle = (settled: () => void): void => {
        clearTimeout(timer);
        response.off('drain', onDrain).off('close', onClose);
        this.#draining = undefined;
        settled();
      };
      const onDrain = (): void => settle(resolve);
      const onClose = (): void => settle(() => reject(gone()));
      const timer = setTimeout(() => this.#drop(), this.#limits.readerTimeoutMs);
      response.on('drain', onDrain).on('close', onClose);
    });
    return unheeded(waiting);
  }
}

/** An answer that is all written: its reader is dropped where it does not take the rest in time. */
export function dropUnlessRead(response: ServerResponse, readerTimeoutMs: number, dropped: () => void): void {
  if (response.writableLength === 0) return;
  const timer = setTimeout(() => {
    if (response.writableLength === 0) return;
    dropped();
    if (response.socket !== null) resetConnection(response.socket);
  }, readerTimeoutMs);
  response.once('close', () => clearTimeout(timer));
}

function gone(): UsherError {
  return new UsherError('client_gone', 'The reader left or was too slow.');
}

/** A writer that ignores its promise must not end the process by a rejection that nobody handles. */
function unheeded(promise: Promise<void>): Promise<void> {
  promise.catch(() => undefined);
  return promise;
}

const goneBefore = unheeded(Promise.reject(gone()));
