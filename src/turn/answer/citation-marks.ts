import { searchFound, type Citation, type Item } from '#conversation';
import type { Passage } from '#release';

/** A mark such as `[3]`, with which a model says that it took something from the passage of that number. */
export interface CitationMark {
  readonly number: number;
  /** Offsets of the whole mark, in UTF-16 units of all text so far. */
  readonly start: number;
  readonly end: number;
}

/** Passages of a turn are fewer than a thousand. */
const digitsMax = 3;

/**
 * Finds marks in a text that comes in pieces, however it is cut. What stands in Markdown's code is no
 * mark: `rows[1]` is an index there.
 */
export class MarkScanner {
  #offset = 0;
  /** The digits of a mark that has begun; undefined outside of one. */
  #digits: string | undefined;
  /** Backticks that have just been read. */
  #run = 0;
  /** Backticks that the code began with in which the text stands; 0 outside of code. */
  #fence = 0;
  #isLineEmpty = true;

  /** The marks that are whole with this piece. */
  add(piece: string): readonly CitationMark[] {
    // The hot path: most pieces cannot begin, end or change anything.
    if (this.#digits === undefined && this.#run === 0 && !/[[`\n]/.test(piece)) {
      this.#offset += piece.length;
      if (piece.trim() !== '') this.#isLineEmpty = false;
      return [];
    }
    const marks: CitationMark[] = [];
    for (let at = 0; at < piece.length; at += 1) {
      const mark = this.#read(piece[at]!);
      this.#offset += 1;
      if (mark !== undefined)
        marks.push({ number: mark, start: this.#offset - String(mark).length - 2, end: this.#offset });
    }
    return marks;
  }

  /** The number of the mark that this character ends. */
  #read(character: string): number | undefined {
    if (character === '`') {
      this.#run += 1;
      this.#digits = undefined;
      return undefined;
    }
    this.#endRun();
    if (character === '\n') this.#endLine();
    else if (character.trim() !== '') this.#isLineEmpty = false;
    if (this.#fence > 0) return undefined;
    return this.#readMark(character);
  }

  #readMark(character: string): number | undefined {
    const digits = this.#digits;
    this.#digits = character === '[' ? '' : undefined;
    if (digits === undefined) return undefined;
    if (character === ']' && digits !== '') return Number(digits);
    // A number without a leading zero, so that its length is known from it.
    const grown = digits + character;
    if (/^[1-9]\d*$/.test(grown) && grown.length <= digitsMax) this.#digits = grown;
    return undefined;
  }

  #endRun(): void {
    const run = this.#run;
    this.#run = 0;
    if (run === 0) return;
    this.#isLineEmpty = false;
    if (this.#fence === 0) this.#fence = run;
    else if (this.#fence === run) this.#fence = 0;
  }

  /** Code within a paragraph ends with it, also where its last backtick is missing. */
  #endLine(): void {
    if (this.#isLineEmpty && this.#fence < 3) this.#fence = 0;
    this.#isLineEmpty = true;
  }
}

/** Marks of one answer that are looked at; each becomes an event and is kept. */
const marksMax = 1000;

/** What marks refer to: passages that stand before the model, and those that its searches found. */
export class Citer {
  readonly #sources: readonly Passage[];
  /** What each search found, read once. */
  readonly #found = new WeakMap<Item, ReturnType<typeof searchFound>>();
  #marks = 0;

  constructor(sources: readonly Passage[]) {
    this.#sources = sources;
  }

  /** The answer begins anew. */
  restart(): void {
    this.#marks = 0;
  }

  /** `items` are those of the turn so far. */
  citationsOf(marks: readonly CitationMark[], items: () => readonly Item[]): readonly Citation[] {
    const read = marks.slice(0, Math.max(marksMax - this.#marks, 0));
    this.#marks += read.length;
    return read.flatMap(({ number, start, end }) => {
      const passage = this.#sources[number - 1] ?? this.#foundUnder(number, items());
      return passage === undefined ? [] : [{ source: passage.source, title: passage.title, start, end }];
    });
  }

  #foundUnder(number: number, items: readonly Item[]): Pick<Passage, 'source' | 'title'> | undefined {
    for (const item of items) {
      if (item.kind !== 'tool') continue;
      if (!this.#found.has(item)) this.#found.set(item, searchFound(item));
      const passage = this.#found.get(item)?.find((each) => each.number === number);
      if (passage !== undefined) return passage;
    }
    return undefined;
  }
}
