import { html, type Markup } from './html.ts';

/** Strokes on a field of 24 by 24, drawn in the colour of the text around them. */
const strokes = {
  send: 'M12 19V5M5.5 11.5 12 5l6.5 6.5',
  stop: 'M7.5 7.5h9v9h-9z',
  new: 'M12 5v14M5 12h14',
  menu: 'M4 7h16M4 12h16M4 17h10',
  close: 'M6 6l12 12M18 6 6 18',
  copy: 'M9 9h10v10H9zM15 9V5H5v10h4',
  done: 'M5 12.5 10 17.5 19 7',
  up: 'M7 11v9H4v-9zM7 11l4-7a2 2 0 0 1 2 2.2L12.4 10H18a2 2 0 0 1 2 2.3l-1 6a2 2 0 0 1-2 1.7H7',
  down: 'M17 13V4h3v9zM17 13l-4 7a2 2 0 0 1-2-2.2l.6-3.8H6a2 2 0 0 1-2-2.3l1-6A2 2 0 0 1 7 4h10',
  again: 'M19 12a7 7 0 1 1-2.1-5M19 4v4h-4',
  bin: 'M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5',
  about: 'M12 11v6M12 7.5v.01M3.5 12a8.5 8.5 0 1 0 17 0 8.5 8.5 0 1 0-17 0',
  theme: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  source: 'M6 3.5h8l4 4v13H6zM14 3.5v4h4M9 12h6M9 16h6',
  alert:
    'M12 8.5v4.5M12 16.5v.01M10.6 4.2 2.9 18a1.6 1.6 0 0 0 1.4 2.4h15.4a1.6 1.6 0 0 0 1.4-2.4L13.4 4.2a1.6 1.6 0 0 0-2.8 0z',
} as const;

export function icon(name: keyof typeof strokes): Markup {
  return html`<svg class="icon" aria-hidden="true" focusable="false"><use href="#icon-${name}"></use></svg>`;
}

/** Stands once in a page that shows icons; its scripts use them by `#icon-<name>`. */
export function iconSheet(): Markup {
  const symbols = Object.entries(strokes).map(
    ([name, path]) => html`<symbol id="icon-${name}" viewBox="0 0 24 24"><path d="${path}"></path></symbol>`,
  );
  return html`<svg class="icon-sheet" aria-hidden="true">${symbols}</svg>`;
}
