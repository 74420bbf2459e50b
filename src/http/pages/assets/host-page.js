import { subjectOf } from './chat-client.js';
import { Failure } from './failure.js';

/**
 * The page around the frame that this chat is shown in. Both sides check who speaks: messages go to
 * its origin alone, and only messages of its own window and origin are heard. The server names the
 * origin, and only where the assistant allows it.
 */
const tokenWithinMs = 20_000;

export class HostPage {
  /** @type {string} */
  #origin;
  /** @type {((token: string) => void)[]} */
  #waiting = [];
  /** @type {(greeting: {token: string | null}) => void} */
  #greet = () => {};
  /** @type {Promise<{token: string | null}>} */
  #greeted;
  /** @type {string | null} */
  #unspent = null;
  /** @type {unknown} */
  #subject;
  /** The token of another person came: they signed in on the page around. */
  onStranger = () => {};

  /** @param {string} origin */
  constructor(origin) {
    this.#origin = origin;
    this.#greeted = new Promise((resolve) => {
      this.#greet = resolve;
    });
    addEventListener('message', (event) => {
      if (event.source === parent && event.origin === origin) this.#hear(event.data);
    });
    this.#say({ usher: 'ready' });
  }

  /** Whether the application speaks for the person; else they are a visitor. */
  async hasToken() {
    const { token } = await this.#greeted;
    return token !== null;
  }

  /** @returns {Promise<string>} */
  token() {
    if (this.#unspent !== null) {
      const token = this.#unspent;
      this.#unspent = null;
      return Promise.resolve(token);
    }
    return new Promise((resolve, reject) => {
      const message = 'Your sign-in has ended. Sign in again on the page around this chat.';
      setTimeout(() => reject(new Failure('invalid_token', message)), tokenWithinMs);
      this.#waiting.push(resolve);
      this.#say({ usher: 'token-wanted' });
    });
  }

  close() {
    this.#say({ usher: 'close' });
  }

  /** @param {unknown} data */
  #hear(data) {
    if (typeof data !== 'object' || data === null || !('usher' in data)) return;
    const token = 'token' in data && typeof data.token === 'string' ? data.token : null;
    if (data.usher !== 'hello' && (data.usher !== 'token' || token === null)) return;
    const isStranger = data.usher === 'token' && subjectOf(token ?? '') !== this.#subject;
    if (token !== null) this.#subject = subjectOf(token);
    const waiting = this.#waiting.splice(0);
    if (waiting.length === 0 || isStranger) this.#unspent = token;
    if (token !== null) for (const take of waiting) take(token);
    this.#greet({ token });
    if (isStranger) this.onStranger();
  }

  /** @param {{usher: string}} message */
  #say(message) {
    parent.postMessage(message, this.#origin);
  }
}
