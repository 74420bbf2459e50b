import { endByError, isMissing, recordedEnd, takeEvent } from './answer-end.js';
import { ChatClient } from './chat-client.js';
import { Composer } from './composer.js';
import { announce, byId, make } from './elements.js';
import { ExchangeView } from './exchange-view.js';
import { cutOff, Failure, inWords } from './failure.js';
import { HistoryView } from './history-view.js';
import { HostPage } from './host-page.js';
import { Place } from './place.js';
import { decisionWords, recordedExchanges } from './recorded-exchanges.js';
import { Stage } from './stage.js';
import { attendThemeSwitch } from './theme-switch.js';

/**
 * @typedef {import('./chat-client.js').Item} Item
 * @typedef {import('./chat-client.js').Recorded} Recorded
 * @typedef {import('./answer-stream.js').StreamEvent} StreamEvent
 * @typedef {import('./exchange-view.js').End} End
 *
 * @typedef {object} Settings Written into the page by the server.
 * @property {string} address
 * @property {string} assistant
 * @property {string} title
 * @property {'public' | 'token'} access
 * @property {number} charactersMax
 * @property {string | null} host
 */

/** @type {Settings} */
const settings = JSON.parse(document.querySelector('meta[name="usher"]')?.getAttribute('content') ?? '{}');

/** An answer that was stopped a moment ago may still be written down; until then its conversation is locked. */
const settleMs = 5000;
const pollsMs = [250, 500, 1000, 2000];
/** A server that starts again takes its time, on a busy machine more of it: about a minute is waited. */
const resumesMax = 30;

class Chat {
  #client;
  #host;
  #composer;
  #history;
  #stage = new Stage();
  #place = new Place({ address: settings.address, isFrame: settings.host !== null });
  #opening = byId('opening', HTMLElement);
  #transcript = byId('transcript', HTMLElement);
  #earlier = byId('earlier', HTMLButtonElement);
  #notice = byId('notice', HTMLElement);
  /** @type {string | undefined} */
  #conversation;
  /** @type {ExchangeView[]} */
  #exchanges = [];
  /** The oldest item that is shown, to ask for those before it. @type {string | undefined} */
  #oldest;
  /** What is being answered. @type {ExchangeView | undefined} */
  #answering;
  /** @type {AbortController | undefined} */
  #running;
  #stoppedAtMs = 0;
  /** What is on its way for another conversation than the one shown is thrown away. */
  #shown = 0;

  /** @param {HostPage | undefined} host @param {boolean} asksHost */
  constructor(host, asksHost) {
    const { address, assistant, charactersMax } = settings;
    this.#host = host;
    const askHost = host !== undefined && asksHost ? () => host.token() : undefined;
    this.#client = new ChatClient({ address, assistant, askHost });
    this.#composer = new Composer({
      charactersMax,
      onSend: (text) => void (this.#running === undefined ? this.#say(text) : this.#add(text)),
      onStop: () => this.#stop(),
      onWait: () => this.#showNotice('The answer is not there yet. Wait for it, or stop it, before you send more.'),
    });
    this.#history = new HistoryView({
      load: (after) => this.#client.conversations(after),
      open: (id) => void this.#open(id, 'push'),
      remove: (id) => this.#remove(id),
      complain: (error) => this.#complain(error),
    });
    this.#attend();
  }

  async start() {
    try {
      await this.#client.enter();
    } catch (error) {
      if (error instanceof Failure && error.code === 'forbidden') return this.#refuse(error.message);
      this.#complain(error, () => void this.start());
      return;
    }
    this.#hush();
    document.body.dataset['state'] = 'ready';
    void this.#history.refresh().catch((error) => this.#complain(error));
    const id = this.#place.conversation;
    // What the tab alone remembers may be another person's, who has signed out since.
    const isNamed = location.hash !== '';
    if (id !== undefined) await this.#open(id, 'stay', isNamed);
    else this.#composer.invite();
    this.#composer.sendEarly();
  }

  /** Somebody else may be talking now. */
  startAfresh() {
    this.#client.forgetToken();
    this.#begin();
    void this.start();
  }

  /** @param {string} sentence */
  #refuse(sentence) {
    document.body.dataset['state'] = 'closed';
    this.#composer.close();
    this.#showNotice(sentence);
  }

  #attend() {
    byId('new', HTMLButtonElement).addEventListener('click', () => this.#begin());
    byId('new-in-sidebar', HTMLButtonElement).addEventListener('click', () => {
      this.#history.close();
      this.#begin();
    });
    for (const suggestion of this.#opening.querySelectorAll('.suggestion')) {
      suggestion.addEventListener('click', () => void this.#say(suggestion.textContent ?? ''));
    }
    document.querySelector('.skip')?.addEventListener('click', (event) => {
      // The address keeps naming the conversation.
      event.preventDefault();
      this.#composer.focus();
    });
    const about = byId('about', HTMLDialogElement);
    byId('open-about', HTMLButtonElement).addEventListener('click', () => about.showModal());
    this.#earlier.addEventListener('click', () => void this.#showEarlier());
    document.getElementById('close-chat')?.addEventListener('click', () => this.#host?.close());
    document.addEventListener('keydown', (event) => this.#onKey(event));
    addEventListener('popstate', () => this.#onAddress());
    addEventListener('online', () => this.#hush());
    addEventListener('offline', () =>
      this.#showNotice('You are offline. What you read here stays; sending needs a connection.'),
    );
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.key !== 'Escape' || event.defaultPrevented || document.querySelector('dialog[open]') !== null) return;
    if (this.#history.isDrawer) this.#history.close();
    else if (this.#running !== undefined) this.#stop();
    else this.#host?.close();
  }

  #onAddress() {
    const id = this.#place.conversation;
    if (id === this.#conversation) return;
    if (id === undefined) this.#begin('stay');
    else void this.#open(id, 'stay');
  }

  // Conversations

  /** @param {'push' | 'stay'} address */
  #begin(address = 'push') {
    this.#leave();
    const isAnother = this.#conversation !== undefined;
    this.#conversation = undefined;
    this.#remember(isAnother ? address : 'stay');
    this.#opening.hidden = false;
    this.#composer.invite();
  }

  /** What was shown is gone; what runs for it goes on, to be come back to. */
  #leave() {
    this.#shown += 1;
    this.#letGo();
    for (const exchange of this.#exchanges) exchange.stopCountdown();
    this.#exchanges = [];
    this.#oldest = undefined;
    this.#transcript.replaceChildren();
    this.#earlier.hidden = true;
    this.#stage.goToStart();
    this.#hush();
  }

  /** @param {string} id @param {'push' | 'stay'} address @param {boolean} [isNamed] by the person, who is told if it is gone */
  async #open(id, address, isNamed = true) {
    this.#leave();
    const shown = this.#shown;
    this.#conversation = id;
    this.#remember(address);
    this.#opening.hidden = true;
    try {
      const { items, responses, hasMore } = await this.#client.conversation(id, undefined);
      if (shown !== this.#shown) return;
      this.#showRecorded(items, responses, hasMore);
      this.#stage.goToEnd();
      this.#composer.invite();
      const running = this.#exchanges.findLast((view) => view.how === 'running' && view.response !== undefined);
      if (running !== undefined) void this.#hearOn(running);
      else if (responses.some(({ status }) => status === 'in_progress')) void this.#awaitRunning(id, shown, 0);
    } catch (error) {
      if (shown !== this.#shown) return;
      if (!isMissing(error)) return this.#complain(error, () => void this.#open(id, 'stay'));
      this.#begin('stay');
      if (isNamed)
        this.#showNotice('This conversation is not there any more. It was deleted, or belongs to somebody else.');
    }
  }

  /**
   * An answer of this conversation runs elsewhere, or was left when the page was loaded anew.
   * @param {string} id @param {number} shown @param {number} poll
   */
  async #awaitRunning(id, shown, poll) {
    await new Promise((resolve) => setTimeout(resolve, pollsMs[Math.min(poll, pollsMs.length - 1)]));
    if (shown !== this.#shown || this.#running !== undefined) return;
    const read = await this.#client.conversation(id, undefined).catch(() => undefined);
    if (shown !== this.#shown || this.#running !== undefined) return;
    const stillRuns = read === undefined || read.responses.some(({ status }) => status === 'in_progress');
    if (stillRuns) return void this.#awaitRunning(id, shown, poll + 1);
    this.#exchanges = [];
    this.#transcript.replaceChildren();
    this.#showRecorded(read.items, read.responses, read.hasMore);
    this.#stage.follow();
  }

  async #showEarlier() {
    const shown = this.#shown;
    if (this.#conversation === undefined || this.#oldest === undefined) return;
    try {
      const { items, responses, hasMore } = await this.#client.conversation(this.#conversation, this.#oldest);
      if (shown !== this.#shown) return;
      this.#stage.keepWhile(() => this.#showRecorded(items, responses, hasMore));
    } catch (error) {
      this.#complain(error);
    }
  }

  /**
   * Puts recorded exchanges before those that are shown.
   * @param {Item[]} newestFirst @param {Recorded[]} responses @param {boolean} hasMore
   */
  #showRecorded(newestFirst, responses, hasMore) {
    // An answer is shown with its question, which may come with the page before.
    const firstQuestion = newestFirst.findLastIndex(({ role }) => role === 'user');
    const items = (hasMore ? newestFirst.slice(0, firstQuestion + 1) : newestFirst).toReversed();
    this.#oldest = items[0]?.id;
    this.#earlier.hidden = !hasMore;
    const byId = new Map(responses.map((response) => [response.id, response]));
    const views = recordedExchanges(items).map((one) => this.#recorded(one, byId.get(one.response ?? '')));
    for (const { type, approval_request_id: id, approve } of items) {
      if (type === 'mcp_approval_response' && id !== undefined) this.#settle(id, views, approve === true);
    }
    this.#transcript.prepend(...views.map((view) => view.element));
    this.#exchanges = [...views, ...this.#exchanges];
    for (const { replaces } of responses) {
      if (replaces !== null) this.#exchanges.find((view) => view.response === replaces)?.supersede();
    }
    this.#exchanges = this.#exchanges.filter((view) => view.element.isConnected);
    this.#markNewest();
  }

  /** @param {import('./recorded-exchanges.js').RecordedExchange} group @param {Recorded | undefined} response */
  #recorded(group, response) {
    const view = this.#view(group.question, group.isDecision);
    view.response = response?.id;
    for (const text of group.added) view.addQuestion(text);
    for (const parts of group.messages) {
      view.separate();
      for (const part of parts) {
        view.add(part.text ?? part.refusal ?? '');
        for (const annotation of part.annotations ?? []) view.cite(annotation);
      }
    }
    for (const asked of group.asked) view.askApproval(asked);
    if (group.person !== null) view.handedOver(group.person);
    view.finish(recordedEnd(response), response?.feedback ?? null);
    return view;
  }

  /** @param {string} id */
  async #remove(id) {
    await this.#client.deleteConversation(id).catch((error) => {
      if (!isMissing(error)) throw error;
    });
    announce('The conversation was deleted.');
    if (id === this.#conversation) this.#begin('stay');
  }

  // Turns

  /** @param {string} text @param {ExchangeView} [failed] the attempt that this one takes the place of */
  async #say(text, failed) {
    if (this.#running !== undefined) return;
    const view = this.#view(text);
    failed?.supersede();
    await this.#attendNew(view, (signal) => this.#ask(text, failed?.response, signal));
  }

  /** What the person says to a call that they have to agree to. @param {import('./exchange-view.js').Asked} request @param {boolean} approve */
  async #decide(request, approve) {
    if (this.#running !== undefined) return;
    this.#settle(request.id, this.#exchanges, approve);
    const view = this.#view(decisionWords(approve), true);
    const input = [{ type: 'mcp_approval_response', approval_request_id: request.id, approve }];
    const shown = this.#shown;
    let isDecided = false;
    await this.#attendNew(view, (signal) =>
      this.#ask(input, undefined, signal).catch((error) => {
        isDecided = error instanceof Failure && error.code === 'invalid_request';
        throw error;
      }),
    );
    if (view.response !== undefined || shown !== this.#shown) return;
    // It did not come through: the person decides again.
    if (!isDecided) return this.#settle(request.id, this.#exchanges, undefined);
    this.#showNotice('This was decided in another window.');
    await this.#awaitRunning(this.#conversation ?? '', shown, 0);
  }

  /** @param {string} id @param {readonly ExchangeView[]} views @param {boolean | undefined} approve undefined: not yet */
  #settle(id, views, approve) {
    const said = approve === undefined ? undefined : decisionWords(approve);
    for (const view of views) view.settleApproval(id, said);
  }

  /** While a person is waited for, they are told what else there is to say. @param {string} text */
  async #add(text) {
    const view = this.#answering;
    const shown = this.#shown;
    try {
      await this.#client.addMessage(this.#conversation ?? '', text);
      if (shown !== this.#shown) return;
      view?.addQuestion(text);
      this.#hush();
    } catch (error) {
      if (shown !== this.#shown) return;
      if (this.#composer.text === '') this.#composer.text = text;
      this.#complain(error);
    }
  }

  /** @param {ExchangeView} view @param {(signal: AbortSignal) => Promise<AsyncGenerator<StreamEvent>>} ask */
  async #attendNew(view, ask) {
    this.#hush();
    this.#opening.hidden = true;
    this.#exchanges = [...this.#exchanges.filter((one) => one.element.isConnected), view];
    this.#transcript.append(view.element);
    this.#markNewest();
    this.#stage.followAnswer(view.element);
    await this.#attendTo(view, ask);
  }

  /** An answer that was under way when the page was loaded goes on here. @param {ExchangeView} view */
  async #hearOn(view) {
    view.resume();
    await this.#attendTo(view, (signal) => this.#client.resume(view.response ?? '', -1, signal));
  }

  /** @param {ExchangeView} view @param {(signal: AbortSignal) => Promise<AsyncGenerator<StreamEvent>>} ask */
  async #attendTo(view, ask) {
    const controller = new AbortController();
    const shown = this.#shown;
    this.#running = controller;
    this.#answering = view;
    this.#composer.busy = true;
    // What was pressed to get here may be gone.
    this.#composer.invite();
    announce('Answering.');
    const end = await this.#answer(view, ask, controller.signal);
    if (shown !== this.#shown) return;
    // After a stop, the next question may already run.
    if (this.#running === controller) {
      this.#running = undefined;
      this.#composer.busy = false;
    }
    this.#hush();
    view.finish(end);
    this.#stage.follow();
    announce(spoken(view, end));
    void this.#history.refresh().catch(() => {});
  }

  /**
   * Hears an answer to its end. Where the connection breaks once the answer has a name, it is asked
   * for again from there: the server goes on with it meanwhile, this one or another.
   * @param {ExchangeView} view
   * @param {(signal: AbortSignal) => Promise<AsyncGenerator<StreamEvent>>} ask
   * @param {AbortSignal} signal
   * @returns {Promise<End>}
   */
  async #answer(view, ask, signal) {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const { response, heard } = view;
        const events = attempt === 0 ? ask(signal) : this.#client.resume(response ?? '', heard, signal);
        for await (const event of await events) {
          if (attempt > 0) view.working('');
          const end = takeEvent(view, event);
          this.#composer.mayAdd = view.awaitsPerson;
          if (end !== undefined) return end.how === 'failed' ? this.#asRecorded(view, end) : end;
          if (event.type === 'response.created') this.#list();
          if (attempt > 0) attempt = 1;
        }
        throw cutOff();
      } catch (error) {
        if (signal.aborted) return { how: 'stopped' };
        if (view.response === undefined && isMissing(error)) this.#conversation = undefined;
        const isOver = view.response === undefined || attempt >= resumesMax || isMissing(error);
        if (isOver) return endByError(view, error);
        view.working('The connection broke. Waiting for the server …');
        await new Promise((resolve) => setTimeout(resolve, pollsMs[Math.min(attempt, pollsMs.length - 1)]));
        if (signal.aborted) return { how: 'stopped' };
      }
    }
  }

  /** Why an answer failed, as it will be read again: the stream says it to programmers. @param {ExchangeView} view @param {End} end */
  async #asRecorded(view, end) {
    const read = await this.#client.conversation(this.#conversation ?? '', undefined).catch(() => undefined);
    const recorded = read?.responses.find(({ id }) => id === view.response);
    return recorded?.status === 'failed' ? recordedEnd(recorded) : end;
  }

  /** A conversation is listed once it has a first question. */
  #list() {
    if (this.#conversation === undefined || this.#history.lists(this.#conversation)) return;
    void this.#history.refresh().catch(() => {});
  }

  /** @param {string | object[]} input @param {string | undefined} replaces @param {AbortSignal} signal */
  async #ask(input, replaces, signal) {
    if (this.#conversation === undefined) {
      this.#conversation = await this.#client.createConversation();
      signal.throwIfAborted();
      this.#remember('stay');
    }
    const conversation = this.#conversation;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#client.answer({ conversation, input, replaces, signal });
      } catch (error) {
        const settles = Date.now() - this.#stoppedAtMs < settleMs;
        if (!settles || !(error instanceof Failure) || error.code !== 'conversation_locked') throw error;
        await new Promise((resolve) => setTimeout(resolve, pollsMs[Math.min(attempt, pollsMs.length - 1)]));
        signal.throwIfAborted();
      }
    }
  }

  #stop() {
    if (this.#running === undefined) return;
    this.#stoppedAtMs = Date.now();
    this.#letGo();
    // A server that merely loses its listener goes on for a while.
    const response = this.#answering?.response;
    if (response !== undefined) void this.#client.cancel(response).catch(() => {});
  }

  /** What is being answered is not heard any more. */
  #letGo() {
    this.#running?.abort();
    this.#running = undefined;
    this.#composer.busy = false;
  }

  // What is shown

  /** @param {string} question @param {boolean} [isDecision] which is made once */
  #view(question, isDecision = false) {
    /** @type {ExchangeView} */
    const view = new ExchangeView({
      question,
      title: settings.title,
      onDrawn: () => this.#stage.follow(),
      deeds: {
        again: isDecision || question === '' ? undefined : () => void this.#say(question, view),
        decide: (request, approve) => void this.#decide(request, approve),
        rate: (response, rating, comment) => this.#client.rate(response, rating, comment),
      },
    });
    return view;
  }

  #markNewest() {
    for (const view of this.#exchanges) view.setNewest(view === this.#exchanges.at(-1));
  }

  /** @param {unknown} error @param {() => void} [again] */
  #complain(error, again) {
    this.#showNotice(error instanceof Failure ? error.message : inWords(null, null), again);
  }

  /** @param {string} sentence @param {() => void} [again] */
  #showNotice(sentence, again) {
    const button = make('button', { class: 'plain', type: 'button', click: () => again?.() }, 'Try again');
    this.#notice.replaceChildren(make('p', {}, sentence), ...(again === undefined ? [] : [button]));
    this.#notice.hidden = false;
  }

  #hush() {
    this.#notice.hidden = true;
    this.#notice.replaceChildren();
  }

  /** @param {'push' | 'stay'} step */
  #remember(step) {
    this.#place.go(this.#conversation, step);
    this.#history.current = this.#conversation;
  }
}

/** @param {ExchangeView} view @param {End} end */
function spoken(view, end) {
  const text = view.element.querySelector('.words')?.textContent ?? '';
  switch (end.how) {
    case 'failed':
      return `The answer failed. ${end.message ?? ''}`;
    case 'stopped':
      return 'The answer was stopped.';
    default:
      return `${settings.title}: ${text}`;
  }
}

async function main() {
  attendThemeSwitch();
  const host = settings.host === null ? undefined : new HostPage(settings.host);
  const chat = new Chat(host, host !== undefined && (await host.hasToken()));
  if (host !== undefined) host.onStranger = () => chat.startAfresh();
  await chat.start();
}

void main();
