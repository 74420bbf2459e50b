import { Agent, type Dispatcher } from 'undici';
import { EventScan } from './event-scan.ts';
import type { LoadPlan, LoadProgress, LoadReport } from './load-plan.ts';
import { schedule } from './schedule.ts';
import { Timings } from './timings.ts';

/** A load under way. */
export interface Drive {
  progress(): LoadProgress;
  readonly report: Promise<LoadReport>;
  /** Sends no more and breaks off what is open; the report follows. */
  stop(): void;
}

/**
 * Open-loop load: every request has its time before the first is sent, and is judged from that
 * time, so that a server that stalls is charged for all who would have come meanwhile.
 */
export function driveLoad(plan: LoadPlan): Drive {
  const driver = new LoadDriver(plan);
  return { progress: () => driver.progress(), report: driver.run(), stop: () => driver.stop() };
}

class LoadDriver {
  readonly #plan: LoadPlan;
  readonly #times: Float64Array;
  readonly #agent: Agent;
  readonly #origin: string;
  readonly #path: string;
  readonly #open = new Set<OneRequest>();
  readonly #errors: Record<string, number> = {};
  readonly timings = {
    firstByte: new Timings(),
    firstToken: new Timings(),
    whole: new Timings(),
    fromSend: new Timings(),
    lag: new Timings(),
  };
  bytes = 0;
  events = 0;
  #sent = 0;
  #done = 0;
  #failed = 0;
  #isStopped = false;
  #settled: (() => void) | undefined;

  constructor(plan: LoadPlan) {
    const url = new URL(plan.url);
    this.#plan = plan;
    this.#times = schedule(plan);
    this.#origin = url.origin;
    this.#path = url.pathname + url.search;
    const { connectionsMax } = plan;
    this.#agent = new Agent({
      pipelining: 1,
      connections: connectionsMax ?? null,
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 60_000,
    });
  }

  progress(): LoadProgress {
    return {
      sent: this.#sent,
      open: this.#open.size,
      done: this.#done,
      failed: this.#failed,
      events: this.events,
    };
  }

  stop(): void {
    this.#isStopped = true;
    for (const request of this.#open) request.abort('stopped');
  }

  async run(): Promise<LoadReport> {
    const startedAt = performance.now();
    const settled = new Promise<void>((resolve) => {
      this.#settled = resolve;
    });
    this.#tick(startedAt);
    const overdue = setInterval(() => this.#abortOverdue(), 100);
    await settled;
    clearInterval(overdue);
    await this.#agent.destroy();
    const { firstByte, firstToken, whole, fromSend, lag } = this.timings;
    return {
      ...this.progress(),
      bytes: this.bytes,
      seconds: (performance.now() - startedAt) / 1000,
      errors: this.#errors,
      firstByte: firstByte.quantiles(),
      firstToken: firstToken.quantiles(),
      whole: whole.quantiles(),
      fromSend: fromSend.quantiles(),
      lag: lag.quantiles(),
    };
  }

  finished(request: OneRequest, error: string | undefined): void {
    if (!this.#open.delete(request)) return;
    if (error === undefined) this.#done += 1;
    else {
      this.#failed += 1;
      this.#errors[error] = (this.#errors[error] ?? 0) + 1;
    }
    this.#settleIfOver();
  }

  /** Sends what is due, then sleeps until the next is: at most a timer's millisecond late. */
  #tick(startedAt: number): void {
    const now = performance.now() - startedAt;
    while (!this.#isStopped && this.#sent < this.#times.length && (this.#times[this.#sent] ?? 0) <= now) {
      this.#send(startedAt + (this.#times[this.#sent] ?? 0));
    }
    if (this.#isStopped || this.#sent >= this.#times.length) return this.#settleIfOver();
    const nextAt = startedAt + (this.#times[this.#sent] ?? 0);
    setTimeout(() => this.#tick(startedAt), Math.max(0, nextAt - performance.now()));
  }

  #send(intendedAt: number): void {
    this.#sent += 1;
    const request = new OneRequest(this, intendedAt, this.#plan.readBytesPerSecond);
    this.timings.lag.record(request.sentAt - intendedAt);
    this.#open.add(request);
    const { method = 'POST', headers = {}, body } = this.#plan;
    this.#agent.dispatch(
      { origin: this.#origin, path: this.#path, method, headers: { ...headers }, body: body ?? null },
      request,
    );
  }

  #abortOverdue(): void {
    const { timeoutMs = 60_000 } = this.#plan;
    const now = performance.now();
    for (const request of this.#open) {
      // Insertion order is order of intended time: the first that is in time ends the search.
      if (now - request.intendedAt < timeoutMs) break;
      request.abort('timeout');
    }
  }

  #settleIfOver(): void {
    const allSent = this.#isStopped || this.#sent >= this.#times.length;
    if (allSent && this.#open.size === 0) this.#settled?.();
  }
}

/** One request on its way, as undici's handler. */
class OneRequest implements Dispatcher.DispatchHandler {
  readonly intendedAt: number;
  readonly sentAt = performance.now();
  readonly #driver: LoadDriver;
  readonly #readBytesPerSecond: number | undefined;
  readonly #scan = new EventScan();
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #isStream = false;
  #abortedBy: string | undefined;

  constructor(driver: LoadDriver, intendedAt: number, readBytesPerSecond: number | undefined) {
    this.#driver = driver;
    this.intendedAt = intendedAt;
    this.#readBytesPerSecond = readBytesPerSecond;
  }

  abort(kind: string): void {
    this.#abortedBy = kind;
    if (this.#controller === undefined) this.#finish(kind);
    else this.#controller.abort(new Error(kind));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#abortedBy !== undefined) controller.abort(new Error(this.#abortedBy));
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    const now = performance.now();
    this.#status = status;
    this.#isStream = String(headers['content-type']).startsWith('text/event-stream');
    this.#driver.timings.firstByte.record(now - this.intendedAt);
    if (!this.#isStream) this.#driver.timings.fromSend.record(now - this.sentAt);
  }

  onResponseData(controller: Dispatcher.DispatchController, bytes: Buffer): void {
    this.#driver.bytes += bytes.length;
    if (this.#isStream) this.#scanEvents(bytes);
    if (this.#readBytesPerSecond === undefined) return;
    controller.pause();
    setTimeout(() => controller.resume(), (bytes.length * 1000) / this.#readBytesPerSecond);
  }

  onResponseEnd(): void {
    this.#finish(this.#status >= 400 ? `http_${this.#status}` : undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error & { code?: string }): void {
    const isCut = this.#status !== 0 && error.code === 'UND_ERR_SOCKET';
    this.#finish(this.#abortedBy ?? (isCut ? 'cut' : (error.code ?? error.name)));
  }

  #scanEvents(bytes: Buffer): void {
    const scan = this.#scan;
    const hadWords = scan.hasWords;
    const eventsBefore = scan.events;
    scan.push(bytes);
    this.#driver.events += scan.events - eventsBefore;
    if (hadWords || !scan.hasWords) return;
    const now = performance.now();
    this.#driver.timings.firstToken.record(now - this.intendedAt);
    this.#driver.timings.fromSend.record(now - this.sentAt);
  }

  #finish(error: string | undefined): void {
    if (error !== 'stopped') this.#driver.timings.whole.record(performance.now() - this.intendedAt);
    this.#driver.finished(this, error);
  }
}
