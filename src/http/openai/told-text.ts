import { appendText, UsherError } from '#base';

/**
 * The text that a listener was told, for a wire that has no word for an answer that begins anew: it
 * is joined where it says again what was told already, and where it says something else the
 * listener is lost.
 */
export class ToldText {
  /** By the place of its item. */
  readonly #texts = new Map<number, string>();
  /** What was told of an answer that began anew, and has not come again yet. */
  #owed = '';

  get isOwed(): boolean {
    return this.#owed !== '';
  }

  /** What of `delta` the listener does not know yet. @throws UsherError `backend_broken` where it differs from what was told */
  tell(index: number, delta: string): string {
    this.#texts.set(index, appendText(this.#texts.get(index) ?? '', delta));
    if (this.#owed === '') return delta;
    const shared = Math.min(this.#owed.length, delta.length);
    if (this.#owed.slice(0, shared) !== delta.slice(0, shared)) throw toldOtherwise();
    this.#owed = this.#owed.slice(shared);
    return delta.slice(shared);
  }

  /** Items from `index` on count no more. */
  restart(index: number): void {
    const texts = [...this.#texts].filter(([place]) => place >= index).sort(([one], [other]) => one - other);
    for (const [place] of texts) this.#texts.delete(place);
    this.#owed = texts.map(([, text]) => text).join('') + this.#owed;
  }
}

export function toldOtherwise(): UsherError {
  return new UsherError('backend_broken', 'The answer broke off and was made anew; it differs from what was told.');
}
