import { Worker } from 'node:worker_threads';
import { siblingModule } from '#base';
import type { ParsedDocument } from './parse-document.ts';

/** What the thread is given: a document by its path below `knowledge/`. */
export interface ToParse {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A parser that hangs, or fills the memory, ends with its thread and not with the server. */
const documentMs = 120_000;
const heapMegabytesMax = 2048;

/** Parses documents in a thread of its own, which is started with the first one. One document at a time. */
export class DocumentParser {
  #worker: Worker | undefined;

  /** Not to be called again before it has settled. */
  async parse(document: ToParse): Promise<ParsedDocument> {
    const worker = (this.#worker ??= this.#start());
    worker.ref();
    const parsed = await answerOf(worker, document);
    // It stays for the next document, without keeping the process.
    worker.unref();
    if (parsed !== undefined) return parsed;
    await this.close();
    return {
      result: 'refused',
      mend: 'the document takes too long to read, or too much memory; split it, or save it as text',
    };
  }

  #start(): Worker {
    const worker = new Worker(siblingModule(import.meta.url, 'parse-worker'), {
      name: 'usher documents',
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytesMax },
    });
    // Whoever waits for it is told by the end that follows.
    worker.on('error', () => undefined);
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    return worker;
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

/** Undefined where the thread gave none in time, or ended. */
function answerOf(worker: Worker, document: ToParse): Promise<ParsedDocument | undefined> {
  return new Promise((resolve) => {
    const settle = (parsed: ParsedDocument | undefined): void => {
      clearTimeout(timer);
      worker.off('message', settle).off('exit', fail);
      resolve(parsed);
    };
    const fail = (): void => settle(undefined);
    const timer = setTimeout(fail, documentMs);
    worker.once('message', settle).once('exit', fail);
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port, not a window
    worker.postMessage(document);
  });
}
