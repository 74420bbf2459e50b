import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { newId, UsherError, type ErrorCode } from '#base';
import type { Principal } from '#access';
import type { EventStream, Exchange } from './exchange.ts';
import type { Rescued } from './rescue.ts';
import { resetConnection } from './reset-connection.ts';
import { securityHeaders } from './security-headers.ts';
import { readJson, valuesMaxOf, type BodyLimits } from './read-json.ts';
import { dropUnlessRead, SocketStream, type ReaderLimits } from './socket-stream.ts';

export interface ExchangeLimits extends BodyLimits, ReaderLimits {}

export interface ExchangeHost {
  readonly limits: ExchangeLimits;
  /** Whether answers should ask the client to come back on another connection. */
  isDraining(): boolean;
  addressOf(request: IncomingMessage): string;
  readerDropped(): void;
}

/** What is read and thrown away after an early answer, so that a client still sending gets to see it. */
const lingerMs = 1000;
const lingerBytes = 1_048_576;

/** One request under way, over Node's own request and response. */
export class OpenExchange implements Exchange {
  readonly requestId: string = newId('request');
  readonly method: string;
  path = '';
  params: Readonly<Record<string, string>> = {};
  origin = '';
  /** The route's pattern, for telemetry: never the path as sent. */
  route = 'none';
  /** Security and CORS headers, names and values alternating. */
  commonHeaders: readonly string[] = securityHeaders(false);
  caller: Principal | undefined;
  bytesOut = 0;
  /** Why it failed, for telemetry. */
  code: ErrorCode | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #host: ExchangeHost;
  readonly #expectsContinue: boolean;
  readonly #ownHeaders: string[] = [];
  #search = '';
  #query: URLSearchParams | undefined;
  #controller: AbortController | undefined;
  #isGone = false;
  #bodyAsked = false;
  #stream: SocketStream | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, host: ExchangeHost, expectsContinue: boolean) {
    this.#request = request;
    this.#response = response;
    this.#host = host;
    this.#expectsContinue = expectsContinue;
    this.method = request.method ?? '';
  }

  /** `target` in origin form. */
  aim(target: string): void {
    const question = target.indexOf('?');
    this.path = question === -1 ? target : target.slice(0, question);
    this.#search = question === -1 ? '' : target.slice(question);
  }

  get query(): URLSearchParams {
    this.#query ??= new URLSearchParams(this.#search);
    return this.#query;
  }

  get headers(): IncomingHttpHeaders {
    return this.#request.headers;
  }

  get principal(): Principal {
    if (!this.caller) throw new UsherError('internal', 'A route without a principal asked for one.');
    return this.caller;
  }

  get clientAddress(): string {
    return this.#host.addressOf(this.#request);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#isGone && !this.#controller.signal.aborted) this.#controller.abort(clientGone());
    return this.#controller.signal;
  }

  get isAnswered(): boolean {
    return this.#response.headersSent;
  }

  /**
   * Whether a body is still on the way. `complete` alone would not tell: a handler may run before
   * the parser has come to the end of a request that has no body at all.
   */
  get isArriving(): boolean {
    const { complete, headers } = this.#request;
    if (complete) return false;
    return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  get status(): number {
    return this.#response.headersSent ? this.#response.statusCode : 499;
  }

  get stream(): SocketStream | undefined {
    return this.#stream;
  }

  /** The client is gone. */
  abandon(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#controller?.abort(clientGone());
  }

  async json(): Promise<unknown> {
    if (this.#bodyAsked) throw new UsherError('internal', 'The body was asked for twice.');
    this.#bodyAsked = true;
    if (this.#expectsContinue) this.#response.writeContinue();
    const valuesMax = this.caller?.kind === 'key' ? valuesMaxOf.application : valuesMaxOf.person;
    return await readJson(this.#request, this.#host.limits, valuesMax, this.signal);
  }

  setHeader(name: string, value: string): void {
    this.#ownHeaders.push(name, value);
  }

  /** Answers with a failure; what the handler meant to say of itself is forgotten. */
  refuse({ status, headers, body }: Rescued): void {
    this.#ownHeaders.length = 0;
    for (const [name, value] of headers) this.setHeader(name, value);
    this.sendJson(status, body);
  }

  sendJson(status: number, body: unknown): void {
    this.send(status, 'application/json', JSON.stringify(body));
  }

  send(status: number, contentType: string, body: string | Uint8Array): void {
    if (this.#isGone) return;
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength;
    this.bytesOut = length;
    const closes = this.#mustClose();
    const headers = ['content-type', contentType, 'content-length', String(length)];
    if (!holds(this.#ownHeaders, 'cache-control')) headers.push('cache-control', 'no-store');
    this.#writeHead(status, headers, closes);
    if (this.isArriving) this.#sendThenLinger(body);
    else this.#response.end(body);
    dropUnlessRead(this.#response, this.#host.limits.readerTimeoutMs, () => this.#host.readerDropped());
  }

  /** Status 204. */
  sendNothing(): void {
    if (this.#isGone) return;
    this.#writeHead(204, [], this.#mustClose());
    this.#response.end();
  }

  openStream(): EventStream {
    if (this.#stream) throw new UsherError('internal', 'The event stream was opened twice.');
    if (!this.#isGone) this.#writeHead(200, streamHeaders, this.#mustClose());
    this.#stream = new SocketStream(this.#response, this.#host.limits, () => this.#host.readerDropped());
    return this.#stream;
  }

  destroy(): void {
    resetConnection(this.#request.socket);
  }

  /** A body that was not read to its end would be taken for the next request. */
  #mustClose(): boolean {
    return this.isArriving || this.#host.isDraining();
  }

  #writeHead(status: number, headers: readonly string[], closes: boolean): void {
    const own = this.#ownHeaders;
    const common = this.commonHeaders;
    const all = ['x-request-id', this.requestId, ...headers];
    for (let at = 0; at < common.length; at += 2) {
      const name = common[at] ?? '';
      if (own.length === 0 || !holds(own, name)) all.push(name, common[at + 1] ?? '');
    }
    all.push(...own);
    if (closes) all.push('connection', 'close');
    this.#response.writeHead(status, all);
  }

  /**
   * The whole answer goes out before the response ends, and with it the connection; meanwhile what
   * the client still sends is thrown away, since closing on unread bytes would reset the connection
   * and take the answer back.
   */
  #sendThenLinger(body: string | Uint8Array): void {
    const request = this.#request;
    const response = this.#response;
    response.write(body);
    let read = 0;
    const finish = (): void => {
      clearTimeout(timer);
      request.off('data', onData).off('end', finish).off('error', finish);
      response.end();
    };
    const onData = (chunk: Buffer): void => {
      read += chunk.length;
      if (read > lingerBytes) finish();
    };
    const timer = setTimeout(finish, lingerMs);
    response.once('close', () => clearTimeout(timer));
    request.on('data', onData).on('end', finish).on('error', finish);
    request.resume();
  }
}

const streamHeaders: readonly string[] = Object.entries({
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}).flat();

function holds(headers: readonly string[], name: string): boolean {
  for (let at = 0; at < headers.length; at += 2) if (headers[at]?.toLowerCase() === name) return true;
  return false;
}

function clientGone(): UsherError {
  return new UsherError('client_gone', 'The caller left.');
}
