import { Worker } from 'node:worker_threads';
import { siblingModule, UsherError } from '#base';
import { needsParser, textOfFile, type FileText, type SentFile } from './file-text.ts';

/** A parser that hangs, or fills the memory, ends with its thread and not with the server. */
const fileMs = 20_000;
const heapMegabytesMax = 512;
/** Files that may wait for the thread before new ones are turned away. */
const waitingMax = 64;

const tooMuch: FileText = {
  result: 'refused',
  mend: 'it takes too long to read, or too much memory. Split it, or save it as text.',
};

/** Reads files that callers send. Those that take a parser are read in a thread of its own, one after another. */
export class FileReader {
  #worker: Worker | undefined;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();
  readonly #fileMs: number;

  constructor(limitMs = fileMs) {
    this.#fileMs = limitMs;
  }

  /** @throws UsherError `overloaded` where too many wait already */
  read(file: SentFile): Promise<FileText> {
    if (!needsParser(file)) return textOfFile(file);
    if (this.#waiting >= waitingMax) {
      throw new UsherError('overloaded', 'Too many files wait to be read. Repeat the request in a moment.', {
        retryAfterMs: 1000,
      });
    }
    this.#waiting += 1;
    const read = this.#last
      .then(() => this.#parse(file))
      .finally(() => {
        this.#waiting -= 1;
      });
    this.#last = read.catch(() => undefined);
    return read;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  async #parse(file: SentFile): Promise<FileText> {
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    const text = await answerOf(worker, file, this.#fileMs);
    // It stays for the next file, without keeping the process.
    worker.unref();
    if (text !== undefined) return text;
    await this.close();
    return tooMuch;
  }

  #start(): Worker {
    const worker = new Worker(siblingModule(import.meta.url, 'file-worker'), {
      name: 'usher files',
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
    });
    // Whoever waits for it is told by the end that follows.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    return worker;
  }
}

/** Undefined where the thread gave none in time, or ended. */
function answerOf(worker: Worker, file: SentFile, limitMs: number): Promise<FileText | undefined> {
  return new Promise((resolve) => {
    const settle = (text: FileText | undefined): void => {
      clearTimeout(timer);
      worker.off('message', settle).off('exit', fail);
      resolve(text);
    };
    const fail = (): void => settle(undefined);
    const timer = setTimeout(fail, limitMs);
    worker.once('message', settle).once('exit', fail);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
    worker.postMessage(file);
  });
}
