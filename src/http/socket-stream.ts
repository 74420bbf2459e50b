import type { ServerResponse } from 'node:http';
import { UsherError } from '#base';
import type { EventStream } from './exchange.ts';

export interface ReaderLimits {
  /** Bytes that may wait for a slow reader before the writer has to wait too. */
  readonly sendBufferBytes: number;
  /** How long a reader with a full buffer may take to empty it. */
  readonly readerTimeoutMs: number;
}

/** A writer that does not wait is given this many buffers before its reader is dropped. */
const heedlessFactor = 4;

/**
 * An event stream over one response whose headers are out. Memory per reader is bounded: by
 * `sendBufferBytes` for a writer that waits as it is told, by four times that for one that does not.
 */
export class SocketStream implements EventStream {
  readonly #response: ServerResponse;
  readonly #limits: ReaderLimits;
  readonly #dropped: () => void;
  #draining: Promise<void> | undefined;
  #over = false;

  /** `dropped` is told when a reader is cut off for being too slow. */
  constructor(response: ServerResponse, limits: ReaderLimits, dropped: () => void) {
    this.#response = response;
    this.#limits = limits;
    this.#dropped = dropped;
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
    const isRoomy = response.write(block);
    if (isRoomy || response.writableLength <= this.#limits.sendBufferBytes) return undefined;
    if (response.writableLength > this.#limits.sendBufferBytes * heedlessFactor && this.#draining) this.#drop();
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#response.end();
    dropUnlessRead(this.#response, this.#limits.readerTimeoutMs, this.#dropped);
  }

  /** By a reset, which a reader cannot take for the end even where HTTP/1.0 marks none. */
  destroy(): void {
    this.#over = true;
    this.#response.socket?.resetAndDestroy();
  }

  #drop(): void {
    this.#dropped();
    this.destroy();
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
    response.socket?.resetAndDestroy();
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
