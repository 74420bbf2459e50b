import type { IncomingHttpHeaders } from 'node:http';
import { createParser } from 'eventsource-parser';
import type { Dispatcher } from 'undici';
import type { AnswerEnd, AnswerSink, AttemptTimeouts, LimitSignal, ModelEvent } from '../port.ts';
import type { Egress, EgressRequest } from '#egress';
import { ChunkReader, WireFault, errorCode } from './chunk-reader.ts';
import {
  abortedFailure,
  brokenFailure,
  connectFailure,
  cutFailure,
  errorOf,
  garbageFailure,
  serverFailure,
  statusFailure,
  timeoutFailure,
  type Place,
  type TimeoutStep,
} from './failure.ts';
import { limitSignal } from './limit-signal.ts';

/** One event of the stream at the most; a tool call's whole arguments fit many times over. */
export const eventBytesMax = 1024 * 1024;
/** Of a body that is no stream, as much as is read to find its error code. */
const errorBodyBytesMax = 64 * 1024;
/** A refusal's status is known at once: its body is waited for no longer than this. */
const errorBodyMs = 2_000;
/** After the end marker, what may still come before the connection is given up. */
const drainBytesMax = 16 * 1024;
const drainMs = 1_000;

export interface ExchangeOptions {
  readonly place: Place;
  readonly egress: Egress;
  readonly request: EgressRequest;
  readonly sink: AnswerSink;
  readonly timeouts: AttemptTimeouts;
  readonly signal: AbortSignal;
}

/** What a refusal's body said, for the caller that may adapt its request; it never leaves this folder. */
export interface Refusal {
  readonly status: number;
  readonly body: string;
  readonly limits: LimitSignal;
}

export type ExchangeResult =
  | { readonly type: 'answered'; readonly end: AnswerEnd }
  | { readonly type: 'refused'; readonly refusal: Refusal };

/** Sends one request and tells its answer to the sink. @throws BackendFailure, and what the sink throws. */
export function exchange(options: ExchangeOptions): Promise<ExchangeResult> {
  return new Promise((resolve, reject) => {
    if (options.signal.aborted) {
      reject(abortedFailure(options.place));
      return;
    }
    new Exchange(options, resolve, reject).start();
  });
}

/**
 * connecting -> asked -> streaming | reading (a body that is no stream) -> settled.
 * Events go to the sink in order; while it is waiting the connection is paused and its time-out
 * between tokens stands still. The connection survives only where the answer came to its end.
 */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #options: ExchangeOptions;
  readonly #resolve: (result: ExchangeResult) => void;
  readonly #reject: (reason: unknown) => void;
  readonly #onAbort = (): void => this.#fail(abortedFailure(this.#options.place));
  readonly #decoder = new TextDecoder();
  readonly #reader = new ChunkReader((event) => this.#deliver(event));
  readonly #parser = createParser({
    maxBufferSize: eventBytesMax,
    onEvent: (event) => this.#readEvent(event.data),
    onError: () => {
      this.#hasStray = true;
    },
  });
  #state: 'connecting' | 'asked' | 'streaming' | 'reading' | 'settled' = 'connecting';
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #limits: LimitSignal = {};
  #isEventStream = false;
  #stepTimer: NodeJS.Timeout | undefined;
  #wholeTimer: NodeJS.Timeout | undefined;
  #drainTimer: NodeJS.Timeout | undefined;
  #hasToken = false;
  #isDone = false;
  #hasEvent = false;
  /** Lines came that no event stream has; proxies add some, so that they count only where the end is missing. */
  #hasStray = false;
  #bytesSinceEvent = 0;
  #body: Buffer[] = [];
  #bodyBytes = 0;
  #drainBytes = 0;
  /** The connection has nothing more to tell of this request. */
  #isOver = false;
  /** Events that wait for the sink; as many as one read of the socket held. */
  readonly #queue: ModelEvent[] = [];
  #isWaiting = false;
  /** What to do once the sink took everything. */
  #afterQueue: (() => void) | undefined;

  constructor(options: ExchangeOptions, resolve: (result: ExchangeResult) => void, reject: (reason: unknown) => void) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { signal, timeouts, egress, request } = this.#options;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#wholeTimer = setTimeout(() => this.#timeOut('whole', timeouts.wholeMs), timeouts.wholeMs);
    this.#startStep('connect', timeouts.connectMs);
    egress.send(request, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#state === 'settled') {
      controller.abort(abortedFailure(this.#options.place));
      return;
    }
    this.#state = 'asked';
    this.#startStep('first token', this.#options.timeouts.firstTokenMs);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (this.#state !== 'asked' || status < 200) return;
    this.#status = status;
    this.#limits = limitSignal(headers, Date.now());
    const contentType = (headers['content-type'] ?? '').toLowerCase();
    this.#isEventStream = contentType.startsWith('text/event-stream');
    if (status !== 200 || contentType.startsWith('application/json')) {
      this.#state = 'reading';
      clearTimeout(this.#stepTimer);
      this.#stepTimer = setTimeout(() => this.#concludeBody(), errorBodyMs);
      return;
    }
    const encoding = headers['content-encoding'];
    if (contentType.startsWith('text/html') || (encoding !== undefined && encoding !== 'identity')) {
      this.#garbage(encoding === undefined ? 'it answered a web page' : 'it compressed the stream, unasked');
      return;
    }
    this.#state = 'streaming';
    this.#guard(() => this.#options.sink.head?.(this.#limits));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#state === 'streaming') this.#readStream(chunk);
    else if (this.#state === 'reading') this.#readBody(chunk);
    else if (this.#state === 'settled') this.#drain(chunk);
  }

  onResponseEnd(): void {
    this.#isOver = true;
    clearTimeout(this.#drainTimer);
    if (this.#state === 'reading') this.#concludeBody();
    else if (this.#state === 'streaming' && this.#afterQueue === undefined) this.#concludeStream();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    this.#isOver = true;
    clearTimeout(this.#drainTimer);
    const { place } = this.#options;
    switch (this.#state) {
      case 'connecting':
        this.#fail(connectFailure(place, error));
        return;
      case 'asked':
        this.#fail(brokenFailure(place, error, false));
        return;
      case 'reading':
        this.#concludeBody();
        return;
      case 'streaming':
        // What came before the break is told before the break is.
        if (this.#reader.finish !== undefined) this.#whenTold(() => this.#succeed());
        else this.#whenTold(() => this.#fail(brokenFailure(place, error, true)));
        return;
      case 'settled':
    }
  }

  #readStream(chunk: Buffer): void {
    this.#bytesSinceEvent += chunk.length;
    this.#guard(() => this.#parser.feed(this.#decoder.decode(chunk, { stream: true })));
    if (this.#bytesSinceEvent > eventBytesMax && this.#state === 'streaming') {
      this.#garbage('an event has no end');
    }
  }

  /** Whatever goes wrong inside ends the exchange: nothing is thrown at the connection. */
  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#failBy(error);
    }
  }

  #failBy(error: unknown): void {
    const { place } = this.#options;
    if (error instanceof SinkError) {
      this.#fail(error.cause);
    } else if (error instanceof WireFault) {
      const failure =
        error.kind === 'server' ? serverFailure(place, error.code, this.#limits) : garbageFailure(place, error.message);
      this.#whenTold(() => this.#fail(failure));
    } else {
      this.#garbage('an event cannot be read');
    }
  }

  #garbage(what: string): void {
    this.#whenTold(() => this.#fail(garbageFailure(this.#options.place, what)));
  }

  #readEvent(data: string): void {
    this.#bytesSinceEvent = 0;
    this.#hasEvent = true;
    if (this.#state !== 'streaming' || this.#isDone || this.#afterQueue !== undefined) return;
    if (data === '[DONE]') {
      this.#isDone = true;
      this.#concludeStream();
      return;
    }
    if (this.#reader.read(data)) this.#noteToken();
  }

  #noteToken(): void {
    if (this.#hasToken) {
      this.#stepTimer?.refresh();
      return;
    }
    this.#hasToken = true;
    this.#startStep('between tokens', this.#options.timeouts.betweenTokensMs);
  }

  #deliver(event: ModelEvent): void {
    if (this.#isWaiting) {
      this.#queue.push(event);
      return;
    }
    const taken = this.#offer(event);
    if (taken) this.#waitFor(taken);
  }

  #offer(event: ModelEvent): void | Promise<void> {
    try {
      return this.#options.sink.event(event);
    } catch (error) {
      throw new SinkError(error);
    }
  }

  #waitFor(taken: Promise<void>): void {
    if (!this.#isWaiting) {
      this.#isWaiting = true;
      this.#controller?.pause();
    }
    taken.then(
      () => this.#goOn(),
      (error: unknown) => this.#fail(error),
    );
  }

  #goOn(): void {
    if (this.#state === 'settled') return;
    for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) {
      let taken: void | Promise<void>;
      try {
        taken = this.#offer(event);
      } catch (error) {
        this.#failBy(error);
        return;
      }
      if (taken) {
        this.#waitFor(taken);
        return;
      }
    }
    this.#isWaiting = false;
    this.#stepTimer?.refresh();
    if (this.#afterQueue === undefined) this.#controller?.resume();
    else this.#afterQueue();
  }

  /** Runs `step` when the sink has taken all that was read; the first such step wins. */
  #whenTold(step: () => void): void {
    if (this.#state === 'settled' || this.#afterQueue !== undefined) return;
    if (!this.#isWaiting) {
      step();
      return;
    }
    this.#afterQueue = step;
  }

  #concludeStream(): void {
    const { place } = this.#options;
    const isWhole = this.#reader.finish !== undefined || (this.#isDone && this.#reader.hasChoice);
    if (isWhole) this.#whenTold(() => this.#succeed());
    else if (this.#isDone) this.#garbage('it ended an answer that never began');
    else if (this.#hasStray) this.#garbage('its stream has lines that are none of an event stream');
    else if (this.#hasEvent || this.#isEventStream) this.#whenTold(() => this.#fail(cutFailure(place)));
    else this.#garbage('its answer is no event stream');
  }

  #succeed(): void {
    const { finish = 'stop', usage } = this.#reader;
    this.#settle();
    // Resuming lets the rest of the message in, so that the connection can be used again.
    this.#controller?.resume();
    if (!this.#isOver) this.#drainTimer = setTimeout(() => this.#abandon(), drainMs).unref();
    this.#resolve({ type: 'answered', end: { finish, usage } });
  }

  #readBody(chunk: Buffer): void {
    this.#body.push(chunk);
    this.#bodyBytes += chunk.length;
    if (this.#bodyBytes > errorBodyBytesMax) this.#concludeBody();
  }

  #concludeBody(): void {
    if (this.#state === 'settled') return;
    const { place } = this.#options;
    const body = Buffer.concat(this.#body).subarray(0, errorBodyBytesMax).toString();
    const refusal: Refusal = { status: this.#status, body, limits: this.#limits };
    if (this.#status === 400 || this.#status === 422) {
      this.#settle();
      this.#abandon();
      this.#resolve({ type: 'refused', refusal });
      return;
    }
    if (this.#status !== 200) {
      this.#fail(statusFailure(place, this.#status, body, this.#limits));
      return;
    }
    const error = errorOf(body);
    if (error === undefined) this.#garbage('it answered without a stream');
    else this.#fail(serverFailure(place, errorCode(error), this.#limits));
  }

  #startStep(step: TimeoutStep, ms: number): void {
    clearTimeout(this.#stepTimer);
    this.#stepTimer = setTimeout(() => this.#timeOut(step, ms), ms);
  }

  #timeOut(step: TimeoutStep, ms: number): void {
    // A sink that takes its time is not the backend's delay; `goOn` starts the time anew.
    if (this.#afterQueue !== undefined || (this.#isWaiting && step !== 'whole')) return;
    // The model has said all; only the end marker is missing.
    if (this.#reader.finish !== undefined && !this.#isWaiting) this.#succeed();
    else this.#fail(timeoutFailure(this.#options.place, step, ms));
  }

  #drain(chunk: Buffer): void {
    this.#drainBytes += chunk.length;
    if (this.#drainBytes > drainBytesMax) this.#abandon();
  }

  #fail(failure: unknown): void {
    if (this.#state === 'settled') return;
    this.#settle();
    this.#abandon();
    this.#reject(failure);
  }

  #settle(): void {
    this.#state = 'settled';
    this.#queue.length = 0;
    clearTimeout(this.#stepTimer);
    clearTimeout(this.#wholeTimer);
    this.#options.signal.removeEventListener('abort', this.#onAbort);
  }

  /** Destroys the connection; without effect on one whose answer is over. */
  #abandon(): void {
    this.#controller?.abort(abortedFailure(this.#options.place));
  }
}

/** Marks what the sink threw, so that it is not taken for the backend's fault. */
class SinkError extends Error {
  constructor(cause: unknown) {
    super('the sink threw', { cause });
  }
}
