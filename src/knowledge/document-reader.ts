import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Problem } from '#base';
import type { Passage, ReleaseFile } from '#release';
import type { ParsedDocument, ToParse } from './parse-document.ts';
import { BackgroundParser } from './background-parser.ts';

const limits = { taskMs: 120_000, heapMegabytes: 2048 };
const tooMuch: ParsedDocument = {
  result: 'refused',
  mend: 'the document takes too long to read, or too much memory; split it, or save it as text',
};
const passagesMax = 20_000;
const folder = 'knowledge/';
/** Characters of parsed documents that are remembered. */
const charactersMax = 32 * 1024 * 1024;
/** Characters that a document's entry weighs besides its text. */
const entryCharacters = 500;

export interface ReadKnowledge {
  readonly passages: readonly Passage[];
  readonly problems: readonly Problem[];
}

/** How far a reading is, in documents that were not known yet. */
export type ReadProgress = (done: number, total: number) => void;

/** Reads the documents of assistants. One that has not changed since it was last read is not parsed again. */
export class DocumentReader implements AsyncDisposable {
  readonly #parser = new BackgroundParser<ToParse, ParsedDocument>('parse-worker', limits);
  readonly #parsed = new LRUCache<string, ParsedDocument>({ maxSize: charactersMax, sizeCalculation: sizeOf });
  #reading: Promise<unknown> = Promise.resolve();

  /**
   * The passages of the documents below `knowledge/`, in the order of the files, with sources below
   * that folder. A document that cannot be read is a problem with the mend, never an exception.
   */
  read(files: readonly ReleaseFile[], onProgress: ReadProgress = () => undefined): Promise<ReadKnowledge> {
    const reading = this.#reading.then(() => this.#read(files, onProgress));
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  /** Ends the thread; to be called when nothing is read any more. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#parser.close();
  }

  async #read(files: readonly ReleaseFile[], onProgress: ReadProgress): Promise<ReadKnowledge> {
    const documents = files
      .filter(({ path }) => path.startsWith(folder))
      .map(({ path, bytes }) => ({ file: path, path: path.slice(folder.length), bytes, key: keyOf(path, bytes) }));
    const total = documents.filter(({ key }) => !this.#parsed.has(key)).length;
    let done = 0;
    const passages: Passage[] = [];
    const problems: Problem[] = [];
    for (const { file, path, bytes, key } of documents) {
      const known = this.#parsed.get(key);
      const parsed = known ?? (await this.#parser.parse({ path, bytes })) ?? tooMuch;
      if (known === undefined) {
        this.#parsed.set(key, parsed);
        done += 1;
        onProgress(done, Math.max(done, total));
      }
      if (parsed.result === 'refused') problems.push(problemOf(file, parsed.mend));
      else for (const passage of parsed.passages) passages.push(passage);
      if (passages.length > passagesMax) {
        const message = `the knowledge makes more than ${passagesMax} passages; leave out what the assistant does not need`;
        return { passages: [], problems: [...problems, problemOf(file, message)] };
      }
    }
    return { passages, problems };
  }
}

/** A document's path stands in its passages, so it belongs to what they depend on. */
function keyOf(path: string, bytes: Uint8Array): string {
  return `${createHash('sha256').update(bytes).digest('base64')} ${path}`;
}

function sizeOf(parsed: ParsedDocument): number {
  const passages = parsed.result === 'read' ? parsed.passages : [];
  return passages.reduce(
    (sum, { text, title, source }) => sum + text.length + title.length + source.length,
    entryCharacters,
  );
}

function problemOf(file: string, message: string): Problem {
  return { file, line: 0, column: 0, message };
}
