import DOMPurify from './dompurify.js';
import { Marked } from './marked.js';
import { copyFrom, iconButton, make } from './elements.js';

/**
 * Markdown of a model is a stranger's text. Two walls: raw HTML is shown as the text it is, and what
 * comes out of the renderer passes a sanitiser that knows a short list of elements. The page's policy
 * (no inline script, trusted types) is the third.
 */
const tags = 'p br hr strong em del code pre blockquote a ul ol li h3 h4 h5 h6 table thead tbody tr th td'.split(' ');
const rules = {
  ALLOWED_TAGS: tags,
  ALLOWED_ATTR: ['href', 'start', 'align', 'data-language'],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  // No addresses, so not held to the line above.
  ADD_URI_SAFE_ATTR: ['start', 'align', 'data-language'],
};

/** @param {string} text */
const escaped = (text) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    /** Models break lines within table cells by `<br>`; all other markup is shown, not obeyed. */
    html: ({ text }) => (/^<br\s*\/?>$/i.test(text.trim()) ? '<br>' : escaped(text)),
    /** An image would tell its server who reads this: it becomes a link. */
    image({ href, text }) {
      const label = escaped(text === '' ? href : text);
      return /^https?:/i.test(href) ? `<a href="${escaped(href)}">${label}</a>` : label;
    },
    /** The page's own headings are above these. */
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    code: ({ text, lang }) => {
      const language = /^[\w+#.-]{1,20}/.exec(lang ?? '')?.[0] ?? '';
      return `<pre data-language="${language}"><code>${escaped(text)}</code></pre>`;
    },
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
  },
});

/**
 * @param {string} source
 * @returns {DocumentFragment}
 */
function render(source) {
  const written = marked.parse(source, { async: false });
  const fragment = DOMPurify.sanitize(written, { ...rules, RETURN_DOM_FRAGMENT: true });
  for (const link of fragment.querySelectorAll('a')) {
    if (!link.hasAttribute('href')) link.replaceWith(...link.childNodes);
    link.target = '_blank';
    link.rel = 'noopener noreferrer';
  }
  for (const block of fragment.querySelectorAll('pre')) frameCode(block);
  for (const table of fragment.querySelectorAll('table')) {
    const scroll = make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' });
    table.replaceWith(scroll);
    scroll.append(table);
  }
  return fragment;
}

/** @param {HTMLPreElement} block */
function frameCode(block) {
  const language = block.dataset['language'] ?? '';
  block.tabIndex = 0;
  block.setAttribute('role', 'region');
  block.setAttribute('aria-label', language === '' ? 'Code' : `Code in ${language}`);
  const text = block.textContent ?? '';
  const copy = iconButton('copy', 'Copy this code', () => void copyFrom(copy, text));
  const frame = make('div', { class: 'code' }, make('div', { class: 'code-head' }, make('span', {}, language), copy));
  block.replaceWith(frame);
  frame.append(block);
}

/**
 * Shows markdown that grows. Blocks that nothing can change any more stay as they are; the last one
 * alone is drawn anew, at most once a frame.
 */
export class GrowingMarkdown {
  /** @type {string} */
  text = '';
  /** Where the open block begins in `text`. */
  #openAt = 0;
  /** @type {Node[]} */
  #openNodes = [];
  #frame = 0;
  /** @type {HTMLElement} */
  #element;
  /** @type {() => void} */
  #onDrawn;

  /**
   * @param {HTMLElement} element
   * @param {() => void} [onDrawn]
   */
  constructor(element, onDrawn = () => {}) {
    this.#element = element;
    this.#onDrawn = onDrawn;
  }

  /** @param {string} delta */
  add(delta) {
    this.text += delta;
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** The text begins anew. */
  clear() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.text = '';
    this.#openAt = 0;
    this.#openNodes = [];
    this.#element.replaceChildren();
  }

  /** The text is whole. A link whose address stood at the end is known only now. */
  finish() {
    cancelAnimationFrame(this.#frame);
    if (/^ {0,3}\[[^\]]+\]:/m.test(this.text)) {
      this.#openAt = 0;
      this.#openNodes = [];
      this.#element.replaceChildren();
      this.#replaceOpen(this.text);
    } else this.#draw();
  }

  #draw() {
    this.#frame = 0;
    const open = this.text.slice(this.#openAt);
    const settled = settledLength(open);
    if (settled > 0) {
      this.#replaceOpen(open.slice(0, settled));
      this.#openNodes = [];
      this.#openAt += settled;
    }
    this.#replaceOpen(open.slice(settled));
    this.#onDrawn();
  }

  /** @param {string} source */
  #replaceOpen(source) {
    for (const node of this.#openNodes) node.parentNode?.removeChild(node);
    const fragment = render(source);
    this.#openNodes = [...fragment.childNodes];
    this.#element.append(fragment);
  }
}

/**
 * Characters before the last block: the blocks there have ended.
 * @param {string} source
 */
function settledLength(source) {
  const blocks = marked.lexer(source);
  const last = blocks.findLastIndex((block) => block.type !== 'space');
  return blocks.slice(0, Math.max(0, last)).reduce((length, block) => length + block.raw.length, 0);
}
