import { byId, iconButton, make } from './elements.js';

/** @typedef {import('./chat-client.js').Listed} Listed */

/** The person's own conversations: beside the chat where there is room, else a drawer over it. */
export class HistoryView {
  #shade = byId('shade', HTMLElement);
  #opener = byId('open-sidebar', HTMLButtonElement);
  #list = byId('history', HTMLElement);
  #empty = byId('history-empty', HTMLElement);
  #more = byId('more-history', HTMLButtonElement);
  #deeds;
  /** @type {Listed[]} */
  #listed = [];
  /** @type {string | undefined} */
  #current;
  #page = 0;

  /**
   * @param {{
   *   load: (after: string | undefined) => Promise<{conversations: Listed[], hasMore: boolean}>,
   *   open: (id: string) => void,
   *   remove: (id: string) => Promise<void>,
   *   complain: (error: unknown) => void,
   * }} deeds
   */
  constructor(deeds) {
    this.#deeds = deeds;
    this.#opener.addEventListener('click', () => this.open());
    byId('close-sidebar', HTMLButtonElement).addEventListener('click', () => this.close());
    this.#shade.addEventListener('click', () => this.close());
    this.#more.addEventListener('click', () => void this.#loadMore());
  }

  get isDrawer() {
    return document.body.classList.contains('drawer-open');
  }

  open() {
    document.body.classList.add('drawer-open');
    this.#shade.hidden = false;
    this.#opener.setAttribute('aria-expanded', 'true');
    document.querySelector('.room')?.setAttribute('inert', '');
    byId('close-sidebar', HTMLButtonElement).focus();
  }

  close() {
    if (!this.isDrawer) return;
    document.body.classList.remove('drawer-open');
    this.#shade.hidden = true;
    this.#opener.setAttribute('aria-expanded', 'false');
    document.querySelector('.room')?.removeAttribute('inert');
    this.#opener.focus();
  }

  /** @param {string | undefined} id */
  set current(id) {
    this.#current = id;
    for (const button of this.#list.querySelectorAll('button[data-id]')) {
      if (button instanceof HTMLElement && button.dataset['id'] === id) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
    }
  }

  /** @param {string} id */
  lists(id) {
    return this.#listed.some((listed) => listed.id === id);
  }

  /** The newest page afresh. */
  async refresh() {
    const page = (this.#page += 1);
    const { conversations, hasMore } = await this.#deeds.load(undefined);
    if (page !== this.#page) return;
    this.#listed = conversations;
    this.#show(hasMore);
  }

  async #loadMore() {
    const page = this.#page;
    try {
      const { conversations, hasMore } = await this.#deeds.load(this.#listed.at(-1)?.id);
      if (page !== this.#page) return;
      const first = this.#listed.length;
      this.#listed = [...this.#listed, ...conversations];
      this.#show(hasMore);
      this.#focus(this.#listed[first]?.id);
    } catch (error) {
      this.#deeds.complain(error);
    }
  }

  /** @param {boolean} hasMore */
  #show(hasMore) {
    const focused = document.activeElement;
    const held = focused instanceof HTMLElement && this.#list.contains(focused) ? focused.dataset['id'] : undefined;
    this.#list.replaceChildren(...this.#listed.map((listed) => this.#entry(listed)));
    if (held !== undefined) this.#focus(held);
    this.#empty.hidden = this.#listed.length > 0;
    this.#more.hidden = !hasMore;
    this.current = this.#current;
  }

  /** @param {string | undefined} id */
  #focus(id) {
    for (const button of this.#list.querySelectorAll('button')) if (button.dataset['id'] === id) button.focus();
  }

  /** @param {Listed} listed */
  #entry({ id, title, updatedAtMs }) {
    const name = title ?? 'Without a title';
    const open = make(
      'button',
      {
        class: 'conversation',
        type: 'button',
        'data-id': id,
        title: name,
        click: () => {
          this.close();
          this.#deeds.open(id);
        },
      },
      make('span', { class: 'name' }, name),
      make('time', { datetime: new Date(updatedAtMs).toISOString() }, timeAgo(updatedAtMs)),
    );
    const remove = iconButton('bin', `Delete “${name}”`, () => void this.#remove(id, name));
    return make('li', {}, open, remove);
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  async #remove(id, name) {
    if (!(await isConfirmed(`“${name}” is removed from the server for good, with every answer in it.`))) return;
    try {
      await this.#deeds.remove(id);
      this.#listed = this.#listed.filter((listed) => listed.id !== id);
      this.#show(!this.#more.hidden);
      byId('new-in-sidebar', HTMLButtonElement).focus();
    } catch (error) {
      this.#deeds.complain(error);
    }
  }
}

/**
 * @param {string} text
 * @returns {Promise<boolean>}
 */
function isConfirmed(text) {
  const dialog = byId('confirm', HTMLDialogElement);
  byId('confirm-text', HTMLElement).textContent = text;
  dialog.returnValue = 'keep';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'delete'), { once: true });
  });
}

/** @param {number} atMs */
function timeAgo(atMs) {
  const at = new Date(atMs);
  const days = Math.floor((new Date().setHours(0, 0, 0, 0) - new Date(atMs).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  if (days < 7) return new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' }).format(-days, 'day');
  return at.toLocaleDateString();
}
