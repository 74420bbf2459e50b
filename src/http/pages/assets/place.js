/**
 * Which conversation is shown, where a reload finds it again: in the address, and in a frame, which
 * is made anew on each page of the site around it, in what the tab keeps.
 */
export class Place {
  #isFrame;
  #name;

  /** @param {{address: string, isFrame: boolean}} parts */
  constructor({ address, isFrame }) {
    this.#isFrame = isFrame;
    this.#name = `usher:conversation:${address}`;
  }

  /** @returns {string | undefined} */
  get conversation() {
    const named = /^#(conv_[0-9a-f]{32})$/.exec(location.hash)?.[1];
    if (named !== undefined || !this.#isFrame) return named;
    try {
      return sessionStorage.getItem(this.#name) ?? undefined;
    } catch {
      return undefined;
    }
  }

  /** @param {string | undefined} conversation @param {'push' | 'stay'} step whether going back leads to what was shown */
  go(conversation, step) {
    const to = conversation === undefined ? location.pathname + location.search : `#${conversation}`;
    if (step === 'push') history.pushState(null, '', to);
    else history.replaceState(null, '', to);
    if (this.#isFrame) this.#keep(conversation);
  }

  /** @param {string | undefined} conversation */
  #keep(conversation) {
    try {
      if (conversation === undefined) sessionStorage.removeItem(this.#name);
      else sessionStorage.setItem(this.#name, conversation);
    } catch {
      // Closed to this frame: the next page begins anew.
    }
  }
}
