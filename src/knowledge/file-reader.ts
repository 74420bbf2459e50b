import { UsherError } from '#base';
import { needsParser, textOfFile, type FileText, type SentFile } from './file-text.ts';
import { BackgroundParser } from './background-parser.ts';

const limits = { taskMs: 20_000, heapMegabytes: 512 };
/** Files of one tenant that may wait for the thread before new ones are turned away. */
const waitingMax = 64;

const tooMuch: FileText = {
  result: 'refused',
  mend: 'it takes too long to read, or too much memory. Split it, or save it as text.',
};

/** For whom a file is read; nobody where `signal` is aborted before its turn. */
export interface FileAsker {
  readonly tenant: string;
  readonly signal: AbortSignal;
}

interface WaitingFile {
  readonly file: SentFile;
  readonly signal: AbortSignal;
  readonly read: PromiseWithResolvers<FileText>;
}

/**
 * Reads files that callers send. Those that take a parser are read in a thread of its own, one after
 * another, and of each tenant one in turn: none waits for all that another sends.
 */
export class FileReader {
  readonly #thread: BackgroundParser<SentFile, FileText>;
  /** Never an empty one; the tenant whose turn it is stands first. */
  readonly #waiting = new Map<string, WaitingFile[]>();
  #isReading = false;

  constructor(taskMs = limits.taskMs) {
    this.#thread = new BackgroundParser('file-worker', { ...limits, taskMs });
  }

  /** @throws UsherError `overloaded` where too many wait already, `client_gone` */
  read(file: SentFile, { tenant, signal }: FileAsker): Promise<FileText> {
    if (!needsParser(file)) return textOfFile(file);
    const waiting = this.#waiting.get(tenant) ?? [];
    if (waiting.length >= waitingMax) {
      throw new UsherError('overloaded', 'Too many files wait to be read. Repeat the request in a moment.', {
        retryAfterMs: 1000,
      });
    }
    const read = Promise.withResolvers<FileText>();
    waiting.push({ file, signal, read });
    this.#waiting.set(tenant, waiting);
    if (!this.#isReading) void this.#readAll();
    return read.promise;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { file, signal, read } = next;
      try {
        if (signal.aborted) throw new UsherError('client_gone', 'The caller left.');
        read.resolve((await this.#thread.parse(file)) ?? tooMuch);
      } catch (error) {
        read.reject(error);
      }
    }
    this.#isReading = false;
  }

  #next(): WaitingFile | undefined {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    const [tenant, [next, ...rest]] = first;
    this.#waiting.delete(tenant);
    if (rest.length > 0) this.#waiting.set(tenant, rest);
    return next;
  }
}
