import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { STATUS_CODES } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { seededRandom, type Random } from '#base';
import type { Plan } from './plan.ts';
import type { Visitor } from './visitor.ts';

/**
 * Writes one HTTP answer. Headers go through `node:http`, which keeps the connection usable; the
 * body goes to the socket with its chunk framing prebuilt, one write a piece. Where the plan asks
 * for slices or slow headers, every byte is written by hand and the connection ends.
 */
export class Reply {
  readonly #response: ServerResponse;
  readonly #socket: Socket;
  readonly #visitor: Visitor;
  readonly #plan: Plan;
  readonly #sizes: Random | undefined;
  #isChunked = false;

  constructor(response: ServerResponse, socket: Socket, visitor: Visitor, plan: Plan) {
    this.#response = response;
    this.#socket = socket;
    this.#visitor = visitor;
    this.#plan = plan;
    this.#sizes = plan.slice?.seed === undefined ? undefined : seededRandom(plan.slice.seed);
  }

  get #isByHand(): boolean {
    return this.#plan.slice !== undefined || this.#plan.slowHeadersMs !== undefined;
  }

  /** Without `bytes` the body is chunked. */
  async head(status: number, headers: Readonly<Record<string, string>>, bytes?: number): Promise<void> {
    this.#isChunked = bytes === undefined;
    const framing = bytes === undefined ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(bytes) };
    if (!this.#isByHand) {
      this.#response.writeHead(status, { ...headers, ...framing });
      this.#response.flushHeaders();
      return;
    }
    const lines = Object.entries({ ...headers, ...framing, connection: 'close' }).map(
      ([name, value]) => `${name}: ${value}\r\n`,
    );
    await this.#slowly(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n`);
  }

  /** One piece of the body. A returned promise is backpressure. */
  write(text: string): void | Promise<void> {
    const framed = this.#isChunked ? `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n` : text;
    if (this.#plan.slice !== undefined) return this.#sliced(Buffer.from(framed), this.#plan.slice.max);
    if (this.#socket.write(framed)) return;
    return this.#drained();
  }

  /** The answer is whole. */
  async end(): Promise<void> {
    if (!this.#isByHand) {
      this.#response.end();
      return;
    }
    if (this.#isChunked) await this.#sliced(Buffer.from('0\r\n\r\n'), this.#plan.slice?.max ?? 5);
    this.#socket.end();
  }

  /** Closes the connection in the middle of things. */
  cut(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  async #slowly(head: string): Promise<void> {
    const gapMs = this.#plan.slowHeadersMs;
    if (gapMs === undefined) return this.#sliced(Buffer.from(head), this.#plan.slice?.max ?? head.length);
    for (const byte of head) {
      if (this.#visitor.gone) return;
      this.#socket.write(byte);
      await this.#visitor.sleep(gapMs);
    }
  }

  /** Each slice in a turn of the event loop of its own, so that it is a segment of its own. */
  async #sliced(bytes: Buffer, max: number): Promise<void> {
    for (let start = 0; start < bytes.length && !this.#visitor.gone;) {
      const size = this.#sizes === undefined ? max : 1 + Math.floor(this.#sizes() * max);
      const isRoomy = this.#socket.write(bytes.subarray(start, start + size));
      start += size;
      await (isRoomy ? nextTurn() : this.#drained());
    }
  }

  async #drained(): Promise<void> {
    const wake = (): void => this.#visitor.wake();
    this.#socket.on('drain', wake);
    while (this.#socket.writableNeedDrain && !this.#visitor.gone) await this.#visitor.wait();
    this.#socket.off('drain', wake);
  }
}
