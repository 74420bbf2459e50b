import { byId } from './elements.js';

/** Closer to the end than this, the page follows what comes. */
const nearEndPx = 80;
const gapPx = 12;

/** The part of the page that scrolls, and what it scrolls along with. */
export class Stage {
  #element = byId('main', HTMLElement);
  #toEnd = byId('to-end', HTMLButtonElement);
  /** A new answer until it fills the window, the very end, or nothing since the person reads elsewhere. */
  #follows = /** @type {'answer' | 'end' | 'nothing'} */ ('nothing');
  /** @type {HTMLElement | undefined} */
  #answer;
  /** Where the page scrolled to by itself, to tell the person's own scrolling from it. */
  #aimedPx = 0;

  constructor() {
    this.#toEnd.addEventListener('click', () => this.goToEnd());
    this.#element.addEventListener('scroll', () => this.#onScroll(), { passive: true });
    // The message box grows, the keyboard of a phone opens: what is followed stays in sight.
    const dock = document.querySelector('.dock');
    const sizes = new ResizeObserver(() => {
      document.body.style.setProperty('--dock', `${dock?.clientHeight ?? 0}px`);
      this.follow();
    });
    sizes.observe(this.#element);
  }

  /** Before anything is said, what the page says of itself is read from its beginning. */
  goToStart() {
    this.#follows = 'nothing';
    this.#element.scrollTop = 0;
    this.#aimedPx = 0;
    this.follow();
  }

  goToEnd() {
    this.#follows = 'end';
    this.follow();
  }

  /** Its question stays in sight, so that a long answer is read from its beginning. @param {HTMLElement} exchange */
  followAnswer(exchange) {
    this.#follows = 'answer';
    this.#answer = exchange;
    this.follow();
  }

  follow() {
    const stage = this.#element;
    if (this.#follows !== 'nothing') {
      const endPx = stage.scrollHeight - stage.clientHeight;
      stage.scrollTop = this.#follows === 'answer' ? Math.min(endPx, this.#answerTopPx()) : endPx;
      this.#aimedPx = stage.scrollTop;
    }
    this.#showWay();
  }

  /** What is put in above moves nothing that is read. @param {() => void} change */
  keepWhile(change) {
    const fromEndPx = this.#element.scrollHeight - this.#element.scrollTop;
    change();
    this.#element.scrollTop = this.#element.scrollHeight - fromEndPx;
  }

  #answerTopPx() {
    if (this.#answer === undefined) return 0;
    const belowPx = this.#answer.getBoundingClientRect().top - this.#element.getBoundingClientRect().top;
    return this.#element.scrollTop + belowPx - gapPx;
  }

  /** Down to the newest message, where there is one that is out of sight. */
  #showWay() {
    this.#toEnd.hidden = this.#isNearEnd() || byId('transcript', HTMLElement).childElementCount === 0;
  }

  #onScroll() {
    this.#showWay();
    if (Math.abs(this.#element.scrollTop - this.#aimedPx) < 2) return;
    this.#follows = this.#isNearEnd() ? 'end' : 'nothing';
  }

  #isNearEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#element;
    return scrollHeight - scrollTop - clientHeight < nearEndPx;
  }
}
