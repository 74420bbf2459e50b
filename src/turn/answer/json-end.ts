/**
 * Finds the end of a JSON object or array in a text that comes in pieces. Each character is looked at
 * once: to parse all that has come anew with each piece would cost the square of its length.
 */
export class JsonEnd {
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #state: 'open' | 'ended' | 'broken' = 'open';

  /** Whether what has come is one whole value; of a number or a word nobody knows before the text ends. */
  get isReached(): boolean {
    return this.#state === 'ended';
  }

  add(piece: string): void {
    for (let at = 0; at < piece.length && this.#state !== 'broken'; at += 1) this.#read(piece[at]!);
  }

  #read(character: string): void {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === '"') this.#isInString = false;
    } else if (' \n\r\t'.includes(character)) return;
    else if (character === '{' || character === '[') {
      this.#depth += 1;
      if (this.#state === 'ended') this.#state = 'broken';
    } else if (this.#depth === 0) this.#state = 'broken';
    else if (character === '"') this.#isInString = true;
    else if (character === '}' || character === ']') {
      this.#depth -= 1;
      if (this.#depth === 0) this.#state = 'ended';
    }
  }
}
