/** @typedef {string | Node | null | undefined} Child */

/**
 * A new element. Text is text: nothing is ever parsed as markup here.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean | ((event: Event) => void)>} [attributes] Functions listen to the event of that name.
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const svg = 'http://www.w3.org/2000/svg';

/** @param {string} name of the page's icon sheet */
export function icon(name) {
  const drawing = document.createElementNS(svg, 'svg');
  drawing.setAttribute('class', 'icon');
  drawing.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(svg, 'use');
  use.setAttribute('href', `#icon-${name}`);
  drawing.append(use);
  return drawing;
}

/**
 * An element that the page came with.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`The page has no ${id}.`);
  return element;
}

/**
 * A button that shows an icon, named for those who do not see it.
 * @param {string} drawing
 * @param {string} label
 * @param {() => void} onClick
 */
export function iconButton(drawing, label, onClick) {
  return make(
    'button',
    { class: 'tool', type: 'button', 'aria-label': label, title: label, click: onClick },
    icon(drawing),
  );
}

/**
 * Copies text and shows for a moment that it did.
 * @param {HTMLButtonElement} button
 * @param {string} text
 */
export async function copyFrom(button, text) {
  const use = button.querySelector('use');
  if (!(await copied(text))) return announce('This browser does not let the page copy. Select the text instead.');
  announce('Copied.');
  use?.setAttribute('href', '#icon-done');
  setTimeout(() => use?.setAttribute('href', '#icon-copy'), 1500);
}

/**
 * @param {string} text
 * @returns {Promise<boolean>}
 */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // A page without TLS, or in a frame, may have only the older way.
    const before = document.activeElement;
    const field = make('textarea', { class: 'unseen', 'aria-hidden': 'true' });
    field.value = text;
    document.body.append(field);
    field.select();
    const is = document.execCommand('copy');
    field.remove();
    if (before instanceof HTMLElement) before.focus();
    return is;
  }
}

/**
 * Says something to people who listen to the page.
 * @param {string} text
 */
export function announce(text) {
  byId('announce', HTMLElement).textContent = text;
}
