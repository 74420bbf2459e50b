import { Worker } from 'node:worker_threads';
import { siblingModule } from '#base';

export interface ParserLimits {
  /** Of one task. A parser that hangs, or fills the memory, ends with its thread and not with the server. */
  readonly taskMs: number;
  /** Of its objects; and as much again of its buffers, into which a few kilobytes may unpack to gigabytes. */
  readonly heapMegabytes: number;
}

/** How often its buffers are measured, which the engine bounds in no other way. */
const measureMs = 25;

/** A thread that parses one thing after another, started with the first. */
export class BackgroundParser<Task, Parsed> {
  readonly #module: 'parse-worker' | 'file-worker';
  readonly #limits: ParserLimits;
  #worker: Worker | undefined;

  constructor(module: 'parse-worker' | 'file-worker', limits: ParserLimits) {
    this.#module = module;
    this.#limits = limits;
  }

  /** Undefined where it took too long or too much memory. Not to be called again before it has settled. */
  async parse(task: Task): Promise<Parsed | undefined> {
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    const parsed = await this.#answerOf(worker, task);
    // It stays for the next task, without keeping the process.
    worker.unref();
    if (parsed === undefined) await this.close();
    return parsed;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(siblingModule(import.meta.url, this.#module), {
      name: `usher ${this.#module}`,
      resourceLimits: { maxOldGenerationSizeMb: this.#limits.heapMegabytes },
    });
    // Whoever waits for it is told by the end that follows.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    return worker;
  }

  #answerOf(worker: Worker, task: Task): Promise<Parsed | undefined> {
    return new Promise((resolve) => {
      const settle = (parsed: Parsed | undefined): void => {
        clearTimeout(timer);
        clearInterval(measuring);
        worker.off('message', settle).off('exit', fail);
        resolve(parsed);
      };
      const fail = (): void => settle(undefined);
      const timer = setTimeout(fail, this.#limits.taskMs);
      const measuring = setInterval(() => {
        void this.#isTooLarge(worker).then((isSo) => isSo && fail());
      }, measureMs);
      worker.once('message', settle).once('exit', fail);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
      worker.postMessage(task);
    });
  }

  /** A thread that starts or has ended has no answer. */
  async #isTooLarge(worker: Worker): Promise<boolean> {
    const measured = await worker.getHeapStatistics().catch(() => undefined);
    return measured !== undefined && measured.external_memory > this.#limits.heapMegabytes * 1_048_576;
  }
}
