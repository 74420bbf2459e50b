import type { PagedAssistant } from './page-directory.ts';
import { html, type Markup } from './html.ts';
import { icon } from './icons.ts';
import { pageFrame } from './page-frame.ts';
import type { PageAssets } from './page-assets.ts';

export interface ChatPageView {
  readonly assistant: PagedAssistant;
  /** Which model answers, in a sentence. */
  readonly models: string;
  /** The site that shows the page in a frame; undefined where it stands by itself. */
  readonly host: string | undefined;
}

/** The chat page of one assistant, complete but for what was said. */
export function chatPage(assets: PageAssets, view: ChatPageView): string {
  const { assistant, host } = view;
  const { spec } = assistant;
  const embedded = host !== undefined;
  return pageFrame(assets, {
    title: spec.title,
    description: spec.description,
    settings: {
      address: assistant.address,
      assistant: spec.name,
      title: spec.title,
      access: spec.page.access,
      charactersMax: spec.limits.inputCharacters,
      host: host ?? null,
    },
    bodyClass: embedded ? 'chat embedded' : 'chat',
    content: html`
      <a class="skip" href="#say">Skip to the message box</a>
      ${sidebar()}
      <div class="room">
        ${header(spec.title, embedded)}
        <main id="main" class="stage" tabindex="-1">
          <div class="column">
            <div id="opening" class="opening">${opening(assistant)}</div>
            <button id="earlier" class="quiet" type="button" hidden>Show earlier messages</button>
            <div id="transcript" class="transcript"></div>
          </div>
          <noscript><p class="column">This page needs JavaScript to talk with the assistant.</p></noscript>
        </main>
        <button id="to-end" class="to-end" type="button" aria-label="Go to the newest message" hidden>
          ${icon('send')}
        </button>
        ${composer(spec.title, spec.disclosure)}
      </div>
      <div id="announce" class="unseen" role="status" aria-live="polite"></div>
      ${about(view)} ${confirmation()}
    `,
  });
}

function sidebar(): Markup {
  return html`<aside id="sidebar" class="sidebar" aria-label="Your conversations">
      <div class="sidebar-head">
        <h2>Conversations</h2>
        <button id="close-sidebar" class="tool" type="button" aria-label="Close the list of conversations">
          ${icon('close')}
        </button>
      </div>
      <button id="new-in-sidebar" class="wide" type="button">${icon('new')}<span>New conversation</span></button>
      <nav aria-label="Earlier conversations">
        <p id="history-empty" class="hint">What you talk about is listed here.</p>
        <ul id="history" class="history"></ul>
        <button id="more-history" class="quiet" type="button" hidden>Show older ones</button>
      </nav>
    </aside>
    <div id="shade" class="shade" hidden></div>`;
}

function header(title: string, embedded: boolean): Markup {
  const close = html`<button id="close-chat" class="tool" type="button" aria-label="Close the chat">
    ${icon('close')}
  </button>`;
  return html`<header class="bar">
    <button
      id="open-sidebar"
      class="tool"
      type="button"
      aria-label="Your conversations"
      aria-controls="sidebar"
      aria-expanded="false"
    >
      ${icon('menu')}
    </button>
    <h1>${title}</h1>
    <div class="tools">
      <button id="new" class="tool" type="button" aria-label="New conversation">${icon('new')}</button>
      <button id="theme" class="tool" type="button" aria-label="Dark colours" aria-pressed="false">
        ${icon('theme')}
      </button>
      <button id="open-about" class="tool" type="button" aria-label="About this assistant">${icon('about')}</button>
      ${embedded ? close : undefined}
    </div>
  </header>`;
}

function opening({ spec }: PagedAssistant): Markup {
  const suggestions = spec.page.suggestions.map(
    (text) => html`<li><button class="suggestion" type="button">${text}</button></li>`,
  );
  const list = html`<ul class="suggestions" aria-label="Questions to begin with">
    ${suggestions}
  </ul>`;
  return html`<p class="opening-title">${spec.title}</p>
    ${spec.description === '' ? undefined : html`<p class="opening-text">${spec.description}</p>`}
    ${suggestions.length === 0 ? undefined : list}`;
}

function composer(title: string, disclosure: string): Markup {
  return html`<footer class="dock">
    <div class="column">
      <div id="notice" class="notice" role="alert" hidden></div>
      <form id="composer" class="composer">
        <label class="unseen" for="say">Message to ${title}</label>
        <textarea
          id="say"
          name="message"
          rows="1"
          placeholder="Ask ${title}"
          autocomplete="off"
          enterkeyhint="send"
        ></textarea>
        <button id="send" class="send" type="submit" aria-label="Send" disabled>${icon('send')}</button>
        <button id="stop" class="send stop" type="button" aria-label="Stop the answer" hidden>${icon('stop')}</button>
      </form>
      <p id="too-long" class="too-long" aria-live="polite" hidden></p>
      <p id="disclosure" class="disclosure">${disclosure}</p>
    </div>
  </footer>`;
}

function about({ assistant, models }: ChatPageView): Markup {
  const { spec, digest } = assistant;
  return html`<dialog id="about" class="dialog" aria-labelledby="about-title">
    <h2 id="about-title">${spec.title}</h2>
    ${spec.description === '' ? undefined : html`<p>${spec.description}</p>`}
    <p>${spec.disclosure}</p>
    <dl>
      <dt>Model</dt>
      <dd>${models}</dd>
      <dt>Release</dt>
      <dd><code id="release">${digest.slice('sha256:'.length, 'sha256:'.length + 12)}</code></dd>
    </dl>
    <form method="dialog"><button class="plain" type="submit">Close</button></form>
  </dialog>`;
}

function confirmation(): Markup {
  return html`<dialog id="confirm" class="dialog" aria-labelledby="confirm-title" aria-describedby="confirm-text">
    <h2 id="confirm-title">Delete this conversation?</h2>
    <p id="confirm-text"></p>
    <form method="dialog">
      <button class="plain" type="submit" value="keep">Keep it</button>
      <button class="plain danger" type="submit" value="delete">Delete</button>
    </form>
  </dialog>`;
}
