import { html, type Markup } from './html.ts';
import { iconSheet } from './icons.ts';
import { pageModules, type PageAssets } from './page-assets.ts';

/** What every page has around its own content. */
export interface PageFrame {
  readonly title: string;
  readonly description: string;
  /** Read by the page's scripts as JSON. */
  readonly settings?: unknown;
  readonly bodyClass: string;
  readonly content: Markup;
}

/** A whole document. No script or style stands in it, so that the page's policy may forbid both. */
export function pageFrame(assets: PageAssets, frame: PageFrame): string {
  const { title, description, settings, bodyClass, content } = frame;
  const preloads = pageModules.map((name) => html`<link rel="modulepreload" href="${assets.address(name)}" />`);
  const scripts =
    settings === undefined
      ? undefined
      : html`<meta name="usher" content="${JSON.stringify(settings)}" />
          ${preloads}
          <script type="module" src="${assets.address('chat.js')}"></script>`;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta
          name="viewport"
          content="width=device-width, initial-scale=1, viewport-fit=cover, interactive-widget=resizes-content"
        />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <meta name="description" content="${description}" />
        <link rel="icon" href="${assets.address('favicon.svg')}" type="image/svg+xml" />
        <link rel="stylesheet" href="${assets.address('chat.css')}" />
        <script src="${assets.address('theme.js')}"></script>
        ${scripts}
      </head>
      <body class="${bodyClass}">
        ${iconSheet()} ${content}
      </body>
    </html> `.markup;
}
