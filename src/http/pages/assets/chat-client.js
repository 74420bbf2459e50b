import { readEvents } from './answer-stream.js';
import { failureOf, unreachable } from './failure.js';

/**
 * @typedef {object} Listed
 * @property {string} id
 * @property {string | null} title
 * @property {number} updatedAtMs
 *
 * @typedef {object} Recorded A turn as the history tells it.
 * @property {string} id
 * @property {'queued' | 'in_progress' | 'completed' | 'incomplete' | 'cancelled' | 'failed'} status
 * @property {string | null} reason
 * @property {string | null} replaces
 * @property {{rating: 'up' | 'down', comment: string | null} | null} feedback
 *
 * @typedef {object} Annotation
 * @property {string} file_id
 * @property {string} filename
 * @property {number} [index] where what it is a source of ends, in the text of its message
 *
 * @typedef {object} Item
 * @property {string} id
 * @property {string} type
 * @property {string} [role]
 * @property {{type: string, text?: string, refusal?: string, annotations?: Annotation[]}[]} [content]
 * @property {string} [server_label]
 * @property {string} [name]
 * @property {string | null} [output]
 * @property {string} [arguments]
 * @property {boolean} [approve]
 * @property {string} [approval_request_id]
 * @property {string | null} response
 * @property {string | null} [operator] who wrote it in the assistant's place
 */

/** Browsers without storage, or with it closed to frames, keep nothing: then a visit ends with the page. */
const kept = {
  /** @param {string} name */
  get(name) {
    try {
      return localStorage.getItem(name);
    } catch {
      return null;
    }
  },
  /**
   * @param {string} name
   * @param {string} value
   */
  set(name, value) {
    try {
      localStorage.setItem(name, value);
    } catch {
      // See above.
    }
  },
};

/** A token is renewed this long before its end. */
const renewBeforeMs = 30_000;

/** Speaks to the server as the person at this page. */
export class ChatClient {
  /** @type {string} */
  #address;
  /** @type {string} */
  #assistant;
  /** Asks the application around the page for a token; undefined where the page gets its own. */
  #askHost;
  /** @type {{token: string, expiresAtMs: number} | undefined} */
  #held;
  /** @type {Promise<string> | undefined} */
  #renewing;

  /**
   * @param {{address: string, assistant: string, askHost: (() => Promise<string>) | undefined}} parts
   */
  constructor({ address, assistant, askHost }) {
    this.#address = encodeURIComponent(address);
    this.#assistant = assistant;
    this.#askHost = askHost;
  }

  /** Whoever talks from now on is somebody else, or the same with a new token. */
  forgetToken() {
    this.#held = undefined;
  }

  /** Gets in, so that what is refused is known before anything is typed. */
  async enter() {
    await this.#token();
  }

  /**
   * @param {string | undefined} after
   * @returns {Promise<{conversations: Listed[], hasMore: boolean}>}
   */
  async conversations(after) {
    const query = after === undefined ? '' : `&after=${after}`;
    return (await this.#ask('GET', `/chat/${this.#address}/conversations?limit=30${query}`)).json();
  }

  /**
   * Newest items first.
   * @param {string} id
   * @param {string | undefined} after
   * @returns {Promise<{items: Item[], responses: Recorded[], hasMore: boolean}>}
   */
  async conversation(id, after) {
    const query = after === undefined ? '' : `&after=${encodeURIComponent(after)}`;
    const path = `/chat/${this.#address}/conversations/${encodeURIComponent(id)}?limit=60${query}`;
    return (await this.#ask('GET', path)).json();
  }

  /** @returns {Promise<string>} */
  async createConversation() {
    return (await (await this.#ask('POST', '/v1/conversations', {})).json()).id;
  }

  /** Adds to what was said, without asking for an answer. @param {string} conversation @param {string} text */
  async addMessage(conversation, text) {
    const items = [{ type: 'message', role: 'user', content: [{ type: 'input_text', text }] }];
    await this.#ask('POST', `/v1/conversations/${encodeURIComponent(conversation)}/items`, { items });
  }

  /** @param {string} id */
  async deleteConversation(id) {
    await this.#ask('DELETE', `/v1/conversations/${encodeURIComponent(id)}`);
  }

  /**
   * The events of an answer.
   * @param {{conversation: string, input: string | object[], replaces: string | undefined, signal: AbortSignal}} question
   */
  async answer({ conversation, input, replaces, signal }) {
    const metadata = replaces === undefined ? {} : { replaces };
    const body = { model: this.#assistant, conversation, input, metadata, stream: true };
    const response = await this.#ask('POST', '/v1/responses', body, signal);
    if (response.body === null) throw unreachable();
    return readEvents(response.body);
  }

  /**
   * The events of an answer that is made, or was, after the one numbered `after`.
   * @param {string} response @param {number} after @param {AbortSignal} signal
   */
  async resume(response, after, signal) {
    const query = after < 0 ? '' : `&starting_after=${after}`;
    const path = `/v1/responses/${encodeURIComponent(response)}?stream=true${query}`;
    const answered = await this.#ask('GET', path, undefined, signal);
    if (answered.body === null) throw unreachable();
    return readEvents(answered.body);
  }

  /** @param {string} response */
  async cancel(response) {
    await this.#ask('POST', `/v1/responses/${encodeURIComponent(response)}/cancel`);
  }

  /**
   * @param {string} response
   * @param {'up' | 'down'} rating
   * @param {string} comment
   */
  async rate(response, rating, comment) {
    const said = comment === '' ? {} : { comment };
    await this.#ask('POST', `/chat/${this.#address}/feedback`, { response, rating, ...said });
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   * @param {AbortSignal} [signal]
   * @returns {Promise<Response>}
   */
  async #ask(method, path, body, signal) {
    for (let attempt = 1; ; attempt += 1) {
      const authorization = `Bearer ${await this.#token()}`;
      signal?.throwIfAborted();
      const response = await send(method, path, body, { authorization }, signal);
      if (response.ok) return response;
      // A token that has ended, or whose key was changed, is renewed once without a word.
      if (response.status !== 401 || attempt > 1) throw await failureOf(response);
      this.#held = undefined;
    }
  }

  /** @returns {Promise<string>} */
  async #token() {
    if (this.#held !== undefined && this.#held.expiresAtMs - renewBeforeMs > Date.now()) return this.#held.token;
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renew() {
    if (this.#askHost !== undefined) {
      const token = await this.#askHost();
      this.#held = { token, expiresAtMs: endOf(token) };
      return token;
    }
    const name = `usher:visitor:${this.#address}`;
    const response = await send('POST', `/chat/${this.#address}/visit`, { visitor: kept.get(name) }, {});
    if (!response.ok) throw await failureOf(response);
    const { token, expiresAtMs, visitor } = await response.json();
    kept.set(name, visitor);
    // The server's clock and this one may differ; what counts is how long the token lasts from now.
    this.#held = { token, expiresAtMs: Math.max(expiresAtMs, Date.now() + 2 * renewBeforeMs) };
    return token;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {unknown} body
 * @param {Record<string, string>} headers
 * @param {AbortSignal} [signal]
 */
async function send(method, path, body, headers, signal) {
  const content = body === undefined ? {} : { body: JSON.stringify(body) };
  if (body !== undefined) headers = { ...headers, 'content-type': 'application/json' };
  try {
    return await fetch(path, {
      method,
      ...content,
      headers,
      cache: 'no-store',
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw unreachable();
  }
}

/**
 * When the application's token ends, by its own word; the server has the last one.
 * @param {string} token
 */
function endOf(token) {
  const { exp } = claimsOf(token);
  return typeof exp === 'number' ? exp * 1000 : 0;
}

/**
 * Whom a token says it is about.
 * @param {string} token
 */
export function subjectOf(token) {
  return claimsOf(token).sub;
}

/**
 * @param {string} token
 * @returns {{exp?: unknown, sub?: unknown}}
 */
function claimsOf(token) {
  try {
    return JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')));
  } catch {
    return {};
  }
}
