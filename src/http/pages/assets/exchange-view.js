import { copyFrom, icon, iconButton, make } from './elements.js';
import { GrowingMarkdown } from './markdown.js';
import { ratingView } from './rating-view.js';

/**
 * @typedef {import('./chat-client.js').Annotation} Annotation
 *
 * @typedef {object} End How an answer ended. Only `completed` is whole.
 * @property {'completed' | 'short' | 'filtered' | 'stopped' | 'failed' | 'running'} how
 * @property {string} [message] in words, where it failed
 * @property {number} [retryAfterMs]
 *
 * @typedef {object} Asked A call that the person has to agree to.
 * @property {string} id
 * @property {string} [name]
 * @property {string} [arguments]
 *
 * @typedef {object} Deeds What the person may do with an exchange.
 * @property {(() => void) | undefined} again undefined where it cannot be asked the same again
 * @property {(request: Asked, approve: boolean) => void} decide
 * @property {(response: string, rating: 'up' | 'down', comment: string) => Promise<void>} rate
 */

/** @type {Partial<Record<End['how'], string>>} */
const notes = {
  short: 'The answer reached its greatest length and ends here.',
  filtered: 'The model’s content filter ended this answer.',
  stopped: 'This answer was stopped.',
  running: 'This answer is still being written.',
};

/** One question with its answer. */
export class ExchangeView {
  /** @type {HTMLElement} */
  element;
  /** @type {string} */
  question;
  /** The answer's name on the server, as soon as it has one. @type {string | undefined} */
  response;
  /** The number of the last event of it. */
  heard = -1;
  /** The call by which a person is asked to answer. @type {string | undefined} */
  handover;
  /** Whether a person is waited for. */
  awaitsPerson = false;
  /** @type {End['how']} */
  how = 'running';
  /** @type {GrowingMarkdown} */
  #markdown;
  /** @type {Deeds} */
  #deeds;
  /** @type {() => void} */
  #onDrawn;
  #answer = make('div', { class: 'answer', 'aria-busy': 'true' });
  #words = make('div', { class: 'words' });
  #waiting = make('div', { class: 'waiting' }, make('i'), make('i'), make('i'));
  /** What happens besides writing. */
  #step = make('p', { class: 'step', role: 'status', hidden: true });
  #asking;
  #foot = make('div', { class: 'foot' });
  /** What the person has to agree to, by its name on the server. @type {Map<string, {card: HTMLElement, choices: HTMLElement}>} */
  #asked = new Map();
  #person = make('p', { class: 'person', role: 'status' });
  /** By where they come from, with the marks that name them. @type {Map<string, Annotation & {marks: Set<string>}>} */
  #sources = new Map();
  /** Where the present message begins in the text of all. */
  #messageAt = 0;
  #countdown = 0;
  #anew = false;

  /**
   * @param {{question: string, title: string, deeds: Deeds, onDrawn?: () => void}} parts
   */
  constructor({ question, title, deeds, onDrawn = () => {} }) {
    this.question = question;
    this.#deeds = deeds;
    this.#onDrawn = onDrawn;
    this.#person.hidden = true;
    this.#markdown = new GrowingMarkdown(this.#words, onDrawn);
    const heading = make('h2', { class: 'unseen' }, title);
    this.#answer.append(heading, this.#words, this.#person, this.#step, this.#waiting, this.#foot);
    this.#asking = make('div', { class: 'question' }, make('h2', { class: 'unseen' }, 'You'), make('p', {}, question));
    // Of what a person said unasked, and of what begins with the page before.
    this.#asking.hidden = question === '';
    this.element = make('section', { class: 'exchange' }, this.#asking, this.#answer);
  }

  get text() {
    return this.#markdown.text;
  }

  /** @param {string} delta */
  add(delta) {
    this.#markdown.add(delta);
    this.working('');
  }

  /** What happens besides writing, in a few words; '' where nothing does. @param {string} what */
  working(what) {
    this.#step.textContent = what;
    this.#step.hidden = what === '';
    this.#waiting.hidden = what === '' && this.text !== '' && !this.awaitsPerson;
    if (what !== '') this.#onDrawn();
  }

  /** More that was said before the answer came. @param {string} text */
  addQuestion(text) {
    this.#asking.append(make('p', {}, text));
    this.#onDrawn();
  }

  /** What follows is another message of the same answer. */
  separate() {
    if (this.text !== '') this.#markdown.add('\n\n');
    this.#messageAt = this.text.length;
  }

  /** A person can answer from now on. */
  awaitPerson() {
    this.awaitsPerson = true;
    this.#person.hidden = false;
    this.#person.textContent =
      'Waiting for a person. You can write more meanwhile, or leave and come back: the answer is kept for you.';
    this.#waiting.hidden = false;
    this.#onDrawn();
  }

  /** @param {string | null} outcome who answered; null: the assistant does after all */
  handedOver(outcome) {
    this.awaitsPerson = false;
    this.#person.hidden = outcome === null;
    this.#person.textContent = outcome ?? '';
    this.#onDrawn();
  }

  /**
   * The assistant may go on only once the person agrees.
   * @param {Asked} request
   */
  askApproval(request) {
    this.#waiting.hidden = this.#step.hidden;
    const decide = (/** @type {boolean} */ approve) => this.#deeds.decide(request, approve);
    const choices = make(
      'div',
      { class: 'choices' },
      make('button', { class: 'plain allow', type: 'button', click: () => decide(true) }, 'Allow'),
      make('button', { class: 'plain', type: 'button', click: () => decide(false) }, 'Refuse'),
    );
    const card = make(
      'div',
      { class: 'approval', role: 'group', 'aria-label': `May the assistant use ${request.name}?` },
      make('p', {}, 'May the assistant use ', make('strong', {}, request.name ?? ''), ' with this?'),
      make('dl', {}, ...argumentsOf(request.arguments ?? '')),
      choices,
    );
    const last = [...this.#asked.values()].at(-1)?.card ?? this.#words;
    this.#asked.set(request.id, { card, choices });
    last.after(card);
    this.#onDrawn();
  }

  /** It was answered, and nobody is asked twice. @param {string} id @param {string | undefined} said undefined: it did not come through */
  settleApproval(id, said) {
    const asked = this.#asked.get(id);
    asked?.card.lastElementChild?.replaceWith(
      said === undefined ? asked.choices : make('p', { class: 'decided' }, said),
    );
  }

  /** What came so far counts no more. */
  restart() {
    for (const { card } of this.#asked.values()) card.remove();
    this.#asked.clear();
    this.#sources.clear();
    this.#messageAt = 0;
    this.#markdown.clear();
  }

  /** An answer that was recorded as running is heard from here. */
  resume() {
    this.#answer.setAttribute('aria-busy', 'true');
    this.#waiting.hidden = this.text !== '';
    this.#foot.replaceChildren();
  }

  /** @param {Annotation} annotation */
  cite(annotation) {
    const { file_id: id, index = 0 } = annotation;
    const marks = this.#sources.get(id)?.marks ?? new Set();
    const mark = /\[\d+\]$/.exec(this.text.slice(this.#messageAt, this.#messageAt + index))?.[0];
    if (mark !== undefined) marks.add(mark);
    this.#sources.set(id, { ...annotation, marks });
  }

  /**
   * @param {End} end
   * @param {{rating: 'up' | 'down', comment: string | null} | null} [feedback]
   */
  finish(end, feedback = null) {
    this.how = end.how;
    this.#answer.removeAttribute('aria-busy');
    if (this.awaitsPerson && end.how !== 'running') this.handedOver(null);
    this.working('');
    this.#waiting.hidden = end.how !== 'running';
    this.#markdown.finish();
    const note = end.how === 'failed' ? this.#failure(end) : this.#note(end);
    this.#foot.replaceChildren(
      ...[this.#sourceList(), note, ...this.#actions(feedback)].filter((part) => part !== null),
    );
  }

  /** Only the newest answer can be asked for again. @param {boolean} is */
  setNewest(is) {
    this.element.classList.toggle('newest', is);
  }

  /** The newer attempt stands below; this one is folded away, or dropped where it holds nothing. */
  supersede() {
    this.stopCountdown();
    if (this.#anew || this.text === '') return this.element.remove();
    this.#anew = true;
    const fold = make('details', { class: 'superseded' }, make('summary', {}, 'Earlier answer'), this.#words);
    this.element.replaceChildren(fold);
  }

  stopCountdown() {
    clearInterval(this.#countdown);
  }

  #sourceList() {
    if (this.#sources.size === 0) return null;
    const entries = [...this.#sources.values()].map((source) =>
      make(
        'li',
        { title: source.file_id },
        icon('source'),
        make('span', {}, [...source.marks, source.filename || source.file_id].join(' ')),
      ),
    );
    return make('div', { class: 'sources' }, make('h3', {}, 'Sources'), make('ul', {}, ...entries));
  }

  /** @param {End} end */
  #note(end) {
    const note = notes[end.how];
    return note === undefined ? null : make('p', { class: 'note' }, note);
  }

  /** @param {End} end */
  #failure({ message = '', retryAfterMs = 0 }) {
    const wait = make('span', { class: 'wait' });
    const again = make('button', { class: 'plain', type: 'button', click: () => this.#deeds.again?.() }, 'Try again');
    again.hidden = this.#deeds.again === undefined;
    const untilMs = Date.now() + retryAfterMs;
    const tick = () => {
      const left = Math.ceil((untilMs - Date.now()) / 1000);
      wait.textContent = left > 0 ? ` ${left} s` : '';
      again.disabled = left > 0;
      if (left <= 0) clearInterval(this.#countdown);
    };
    tick();
    if (retryAfterMs > 0) this.#countdown = setInterval(tick, 250);
    const partial = this.text === '' ? null : make('strong', {}, 'This answer is not whole. ');
    const words = make('p', {}, partial, message, wait);
    return make('div', { class: 'failure' }, icon('alert'), words, make('div', { class: 'retry' }, again));
  }

  /**
   * @param {{rating: 'up' | 'down', comment: string | null} | null} feedback
   * @returns {(HTMLElement | null)[]}
   */
  #actions(feedback) {
    const isOnlyAsking = this.#asked.size > 0 && this.text === '';
    if (this.how === 'failed' || this.how === 'running' || isOnlyAsking) return [];
    const copy = iconButton('copy', 'Copy this answer', () => void copyFrom(copy, this.text));
    const again = iconButton('again', 'Answer again', () => this.#deeds.again?.());
    again.classList.add('again');
    // Of what a person said the assistant has no other version.
    again.hidden = this.#deeds.again === undefined || this.#asked.size > 0 || !this.#person.hidden;
    const { response } = this;
    if (response === undefined || this.how === 'stopped') {
      return [make('div', { class: 'actions' }, this.text === '' ? null : copy, again)];
    }
    const rate = ratingView((rating, comment) => this.#deeds.rate(response, rating, comment), feedback);
    return [make('div', { class: 'actions' }, copy, ...rate.buttons, again), rate.box];
  }
}

/**
 * Arguments as a person reads them; as they are where they are no JSON object.
 * @param {string} text
 * @returns {HTMLElement[]}
 */
function argumentsOf(text) {
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = text;
  }
  return isObject(value) ? entriesOf(value) : [make('dd', {}, text)];
}

/** @param {object} value @returns {HTMLElement[]} */
function entriesOf(value) {
  return Object.entries(value).flatMap(([name, one]) => [
    make('dt', {}, name),
    isObject(one)
      ? make('dd', {}, make('dl', {}, ...entriesOf(one)))
      : make('dd', {}, typeof one === 'string' ? one : JSON.stringify(one)),
  ]);
}

/** One with names, which lists have not. @param {unknown} value @returns {value is object} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0;
}
