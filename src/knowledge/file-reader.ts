import { UsherError } from '#base';
import { needsParser, textOfFile, type FileText, type SentFile } from './file-text.ts';
import { BackgroundParser } from './background-parser.ts';

const limits = { taskMs: 20_000, heapMegabytes: 512 };
/** Files that may wait for the thread before new ones are turned away. */
const waitingMax = 64;

const tooMuch: FileText = {
  result: 'refused',
  mend: 'it takes too long to read, or too much memory. Split it, or save it as text.',
};

/** Reads files that callers send. Those that take a parser are read in a thread of its own, one after another. */
export class FileReader {
  readonly #thread: BackgroundParser<SentFile, FileText>;
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(taskMs = limits.taskMs) {
    this.#thread = new BackgroundParser('file-worker', { ...limits, taskMs });
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
      .then(async () => (await this.#thread.parse(file)) ?? tooMuch)
      .finally(() => {
        this.#waiting -= 1;
      });
    this.#last = read.catch(() => undefined);
    return read;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}
