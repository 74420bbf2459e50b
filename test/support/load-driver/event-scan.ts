const lineFeed = 10;
const carriageReturn = 13;
/** A delta that carries words, on any of OpenAI's wires. */
const words = /"(?:content|delta|text)":\s?"(?!")/u;

/** Counts server-sent events and finds the first that carries words, over pieces split anywhere. */
export class EventScan {
  events = 0;
  hasWords = false;
  #tail = '';
  /** No byte of the line in progress came in earlier pieces, but perhaps a carriage return. */
  #lineIsEmpty = true;

  push(bytes: Uint8Array): void {
    if (!this.hasWords) this.#lookForWords(bytes);
    let lineStart = 0;
    for (let index = bytes.indexOf(lineFeed); index !== -1; index = bytes.indexOf(lineFeed, lineStart)) {
      if (this.#lineIsEmpty && isEmptyLine(bytes, lineStart, index)) this.events += 1;
      this.#lineIsEmpty = true;
      lineStart = index + 1;
    }
    if (!isEmptyLine(bytes, lineStart, bytes.length)) this.#lineIsEmpty = false;
  }

  #lookForWords(bytes: Uint8Array): void {
    const text = this.#tail + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    this.hasWords = words.test(text);
    this.#tail = text.slice(-16);
  }
}

function isEmptyLine(bytes: Uint8Array, start: number, end: number): boolean {
  return end === start || (end === start + 1 && bytes[start] === carriageReturn);
}
