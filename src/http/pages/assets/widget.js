// The chat of an assistant on any page: <script src="https://…/widget.js" data-assistant="name" async></script>
(() => {
  const script = document.currentScript;
  if (!(script instanceof HTMLScriptElement) || 'Usher' in window) return;
  const { assistant = '', position = 'right', label = 'Chat', color = '', token: given } = script.dataset;
  if (assistant === '') throw new Error('usher: the script tag needs data-assistant');
  const origin = new URL(script.src).origin;
  /** From when its frame has loaded, and in all, until the chat must have spoken. */
  const settleMs = 2000;
  const patienceMs = 30_000;
  const address = `${origin}/chat/${encodeURIComponent(assistant)}?embed=1&from=${encodeURIComponent(location.origin)}`;
  /** @type {string | null} */
  let token = given ?? null;
  let isSpent = false;
  let isReady = false;
  /** @type {HTMLIFrameElement | undefined} */
  let frame;

  const host = document.createElement('usher-chat');
  const root = host.attachShadow({ mode: 'open' });
  const sheet = new CSSStyleSheet();
  const side = position === 'left' ? 'left' : 'right';
  sheet.replaceSync(`
:host{all:initial;position:fixed;z-index:2147483000;bottom:max(20px,env(safe-area-inset-bottom));${side}:20px;font:500 15px/1.2 system-ui,sans-serif;color-scheme:light dark;--usher:#2f5d50}
button{all:unset;box-sizing:border-box;cursor:pointer;display:flex;align-items:center;gap:9px;min-height:52px;padding:0 20px 0 16px;border-radius:26px;background:var(--usher);color:#fff;box-shadow:0 6px 24px #0004}
button:focus-visible{outline:3px solid #fff;box-shadow:0 0 0 6px #1a4fd6}
svg{width:24px;height:24px;fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}
iframe{display:block;border:0;width:400px;height:min(680px,calc(100dvh - 40px));max-width:calc(100vw - 40px);border-radius:16px;box-shadow:0 12px 48px #0005;background:Canvas}
[hidden]{display:none}
@media(max-width:520px){:host(.open){inset:0}iframe{width:100vw;height:100dvh;max-width:none;border-radius:0}}
@media(forced-colors:active){button{border:2px solid ButtonText}}`);
  root.adoptedStyleSheets = [sheet];
  if (/^#[0-9a-f]{3,8}$/i.test(color)) host.style.setProperty('--usher', color);

  const button = document.createElement('button');
  button.type = 'button';
  button.setAttribute('aria-expanded', 'false');
  button.setAttribute('aria-haspopup', 'dialog');
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', 'M5 5h14a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2h-6l-5 4v-4H5a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2z');
  svg.append(path);
  const words = document.createTextNode(label);
  button.append(svg, words);
  button.addEventListener('click', open);
  root.append(button);

  /** @param {object} message */
  const say = (message) => frame?.contentWindow?.postMessage(message, origin);

  function open() {
    if (frame === undefined) {
      frame = document.createElement('iframe');
      frame.src = address;
      frame.title = label;
      frame.allow = 'clipboard-write';
      const opened = frame;
      frame.addEventListener('load', () => setTimeout(giveUp, settleMs, opened));
      setTimeout(giveUp, patienceMs, opened);
      root.append(frame);
      words.data = label;
    }
    frame.hidden = false;
    button.hidden = true;
    button.setAttribute('aria-expanded', 'true');
    host.className = 'open';
    frame.focus();
  }

  function close() {
    if (frame === undefined || frame.hidden) return;
    frame.hidden = true;
    button.hidden = false;
    button.setAttribute('aria-expanded', 'false');
    host.className = '';
    button.focus();
  }

  /** The server is away or refuses this site: what the browser shows then has no way to close it. @param {HTMLIFrameElement} opened */
  function giveUp(opened) {
    if (isReady || frame !== opened) return;
    close();
    opened.remove();
    frame = undefined;
    words.data = 'The chat did not open. Try again';
    reportError(
      new Error(
        `usher: the chat did not open. Check that ${origin} can be reached, that it has an assistant "${assistant}", and that page.origins of its assistant.yaml lists ${location.origin}`,
      ),
    );
  }

  /** @param {string | null} fresh a user token of the person who is signed in; null: nobody is any more */
  function setToken(fresh) {
    const begins = token === null || fresh === null;
    token = fresh;
    isSpent = false;
    // From visitor to person or back, the frame begins anew.
    if (begins && isReady && frame !== undefined) frame.src = address;
    else if (!begins) say({ usher: 'token', token });
  }

  addEventListener('message', (event) => {
    if (event.origin !== origin || frame === undefined || event.source !== frame.contentWindow) return;
    const what = event.data?.usher;
    if (what === 'close') close();
    else if (what === 'ready') {
      isReady = true;
      isSpent = token !== null;
      say({ usher: 'hello', token });
    } else if (what === 'token-wanted') {
      if (token !== null && !isSpent) say({ usher: 'token', token });
      else dispatchEvent(new CustomEvent('usher:token-wanted', { detail: { setToken } }));
      isSpent = true;
    }
  });
  addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close();
  });

  Object.assign(window, { Usher: { open, close, setToken } });
  const show = () => document.body.append(host);
  if (document.body === null) addEventListener('DOMContentLoaded', show);
  else show();
})();
