import { byId } from './elements.js';

/** The message box. */
export class Composer {
  #form = byId('composer', HTMLFormElement);
  #field = byId('say', HTMLTextAreaElement);
  #send = byId('send', HTMLButtonElement);
  #stop = byId('stop', HTMLButtonElement);
  #tooLong = byId('too-long', HTMLElement);
  #charactersMax;
  #isBusy = false;
  #mayAdd = false;
  #isClosed = false;

  /**
   * @param {{
   *   charactersMax: number,
   *   onSend: (text: string) => void,
   *   onStop: () => void,
   *   onWait: () => void,
   * }} parts `onWait`: something was to be sent while an answer runs
   */
  constructor({ charactersMax, onSend, onStop, onWait }) {
    this.#charactersMax = charactersMax;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const text = this.#field.value.trim();
      if (this.#isBusy && !this.#mayAdd && text !== '') return onWait();
      if (!this.#mayTake(text)) return;
      this.text = '';
      onSend(text);
    });
    this.#stop.addEventListener('click', onStop);
    this.#field.addEventListener('input', () => this.#fit());
    this.#field.addEventListener('keydown', (event) => {
      // While a word is composed from several keys, Enter chooses it.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#fit();
  }

  /** @param {string} text */
  set text(text) {
    this.#field.value = text;
    this.#fit();
  }

  get text() {
    return this.#field.value;
  }

  /** While an answer runs, its end takes the place of sending. @param {boolean} is */
  set busy(is) {
    const hadFocus = document.activeElement === (is ? this.#send : this.#stop);
    this.#isBusy = is;
    this.#mayAdd = false;
    this.#fit();
    if (hadFocus) (is ? this.#stop : this.#field).focus();
  }

  /** Whether more may be said before the answer is there. @param {boolean} is */
  set mayAdd(is) {
    if (is === this.#mayAdd) return;
    this.#mayAdd = is;
    this.#fit();
  }

  /** Nobody can talk here for now. */
  close() {
    this.#isClosed = true;
    this.#field.disabled = true;
    this.#fit();
  }

  /** Enter that was pressed before anything listened is a line break at the end: what was meant is done. */
  sendEarly() {
    if (this.#field.value.endsWith('\n')) this.#form.requestSubmit();
  }

  focus() {
    this.#field.focus();
  }

  /** Takes the focus where that does not cover half of the screen with a keyboard. */
  invite() {
    if (!matchMedia('(pointer: coarse)').matches) this.focus();
  }

  /** @param {string} text */
  #mayTake(text) {
    return (!this.#isBusy || this.#mayAdd) && !this.#isClosed && text !== '' && text.length <= this.#charactersMax;
  }

  #fit() {
    const field = this.#field;
    field.style.height = 'auto';
    field.style.height = `${field.scrollHeight}px`;
    const text = field.value.trim();
    const over = text.length - this.#charactersMax;
    this.#send.disabled = !this.#mayTake(text);
    this.#stop.hidden = !this.#isBusy || (this.#mayAdd && text !== '');
    this.#send.hidden = !this.#stop.hidden;
    this.#tooLong.hidden = over <= 0;
    this.#tooLong.textContent = over > 0 ? `${over} characters too many. Please shorten the message.` : '';
  }
}
