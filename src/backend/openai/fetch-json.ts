import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { BackendFailure, LimitSignal } from '../port.ts';
import type { Egress, EgressRequest } from '#egress';
import {
  abortedFailure,
  brokenFailure,
  connectFailure,
  garbageFailure,
  statusFailure,
  timeoutFailure,
  type Place,
} from './failure.ts';
import { limitSignal } from './limit-signal.ts';

/** A long list of models is some hundred kilobytes. */
const listBytesMax = 8 * 1024 * 1024;

/**
 * One JSON answer, read whole: status 200 within `timeoutMs`, no redirect, a bounded body.
 * @throws BackendFailure
 */
export async function fetchJson(
  place: Place,
  egress: Egress,
  request: EgressRequest,
  timeoutMs: number,
  signal: AbortSignal,
  bodyBytesMax = listBytesMax,
): Promise<unknown> {
  if (signal.aborted) throw abortedFailure(place);
  const reply = new JsonReply(place, bodyBytesMax);
  const onAbort = (): void => reply.fail(abortedFailure(place));
  const timer = setTimeout(() => reply.timeOut(timeoutMs), timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    egress.send(request, reply);
    return await reply.whenRead;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

class JsonReply implements Dispatcher.DispatchHandler {
  readonly whenRead: Promise<unknown>;
  readonly #place: Place;
  readonly #settlers = Promise.withResolvers<unknown>();
  readonly #body: Buffer[] = [];
  readonly #bodyBytesMax: number;
  #bytes = 0;
  #status = 0;
  #limits: LimitSignal = {};
  #failure: BackendFailure | undefined;
  #controller: Dispatcher.DispatchController | undefined;

  constructor(place: Place, bodyBytesMax: number) {
    this.#place = place;
    this.#bodyBytesMax = bodyBytesMax;
    this.whenRead = this.#settlers.promise;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#failure !== undefined) controller.abort(this.#failure);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status;
    this.#limits = limitSignal(headers, Date.now());
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes > this.#bodyBytesMax) this.fail(garbageFailure(this.#place, 'its answer has no end'));
  }

  onResponseEnd(): void {
    const body = Buffer.concat(this.#body).toString();
    if (this.#status !== 200) {
      this.fail(statusFailure(this.#place, this.#status, body, this.#limits));
      return;
    }
    try {
      this.#settlers.resolve(JSON.parse(body));
    } catch {
      this.fail(garbageFailure(this.#place, 'it answered what is not JSON'));
    }
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: unknown): void {
    const isConnected = this.#controller !== undefined;
    this.fail(isConnected ? brokenFailure(this.#place, error, this.#status !== 0) : connectFailure(this.#place, error));
  }

  timeOut(timeoutMs: number): void {
    this.fail(timeoutFailure(this.#place, this.#controller === undefined ? 'connect' : 'whole', timeoutMs));
  }

  fail(failure: BackendFailure): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    this.#settlers.reject(failure);
    this.#controller?.abort(failure);
  }
}
