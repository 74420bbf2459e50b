import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { siblingModule, UsherError } from '#base';
import type { Call } from '../operations/calls.ts';
import type { FromWorker, Settled, ToWorker, WorkerSetup } from './messages.ts';

interface Waiting {
  readonly call: Call;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: UsherError) => void;
}

/** Calls of one group: past this a group gains nothing and its last caller waits too long. */
const groupMax = 256;
/** Calls that may wait for the database before new ones are turned away. */
const waitingMax = 10_000;

/**
 * The main thread's end of one worker. At most one group of calls is under way; those that arrive
 * meanwhile form the next one, so groups grow with the load and a lone call never waits for company.
 */
export class Lane {
  readonly #worker: Worker;
  /** Listened for from the start: a thread that ends at once hands over its last message and its end in one go. */
  readonly #exited: Promise<void>;
  #waiting: Waiting[] = [];
  #underWay: readonly Waiting[] = [];
  #sendScheduled = false;
  #closed: UsherError | undefined;
  #drained: (() => void) | undefined;

  /** Starts the thread, which takes a while to load; `open` may be called at any later time. */
  constructor(setup: WorkerSetup) {
    this.#worker = new Worker(siblingModule(import.meta.url, 'worker'), {
      workerData: setup,
      name: `usher sqlite ${setup.lane}`,
    });
    this.#worker.on('message', (message: FromWorker) => {
      if ('settled' in message) this.#settle(message.settled);
    });
    this.#worker.on('error', (error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#fail(undefined);
        resolve();
      });
    });
  }

  /** Settles when the database is open. @throws UsherError as the worker met it; the thread has then ended. */
  async open(): Promise<void> {
    const told = once(this.#worker, 'message');
    this.#post('open');
    const [message] = (await told) as [FromWorker];
    if (!('opened' in message) || !('refusal' in message.opened)) return;
    await this.#exited;
    throw new UsherError(message.opened.refusal.code, message.opened.refusal.message);
  }

  call(call: Call): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(new UsherError('overloaded', 'Too many operations wait for the database. Try again.'));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ call, resolve, reject });
      if (this.#underWay.length > 0 || this.#sendScheduled) return;
      this.#sendScheduled = true;
      queueMicrotask(() => this.#send());
    });
  }

  /** Runs what was called before, then closes the database and ends the thread. */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    this.#closed = new UsherError('shutting_down', 'The store is closed.');
    if (this.#waiting.length + this.#underWay.length > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    }
    this.#post('close');
    await this.#exited;
  }

  #send(): void {
    this.#sendScheduled = false;
    if (this.#waiting.length === 0) return this.#drained?.();
    this.#underWay = this.#waiting.slice(0, groupMax);
    this.#waiting = this.#waiting.slice(groupMax);
    this.#post({ calls: this.#underWay.map(({ call }) => ({ ...call, args: call.args.map(withTightBytes) })) });
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message, []);
  }

  #settle(settled: readonly Settled[]): void {
    const group = this.#underWay;
    this.#underWay = [];
    this.#send();
    for (const [index, { resolve, reject }] of group.entries()) {
      const one = settled[index];
      if (one !== undefined && 'answer' in one) resolve(one.answer);
      else reject(new UsherError(one?.refusal.code ?? 'internal', one?.refusal.message ?? 'No answer came.'));
    }
  }

  #fail(cause: unknown): void {
    this.#closed ??= new UsherError('storage_unavailable', 'The database thread ended. Restart Usher.', { cause });
    for (const { reject } of [...this.#underWay, ...this.#waiting]) reject(this.#closed);
    this.#underWay = [];
    this.#waiting = [];
    this.#drained?.();
  }
}

/**
 * The same value with every byte array in a buffer of its own. A small Buffer is a view into a
 * shared 8 KiB pool, and sending it to a thread copies the whole pool.
 */
function withTightBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.byteLength === value.buffer.byteLength ? value : new Uint8Array(value);
  if (Array.isArray(value)) return value.map(withTightBytes);
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const key in value) copy[key] = withTightBytes(value[key as keyof typeof value]);
  return copy;
}
