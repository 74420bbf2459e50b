import { html } from './html.ts';
import type { PageAssets } from './page-assets.ts';
import type { PagedAssistant } from './page-directory.ts';
import { pageFrame } from './page-frame.ts';

/** The assistants that anyone may talk to. */
export function frontPage(assets: PageAssets, assistants: readonly PagedAssistant[]): string {
  const entries = assistants.map(
    ({ address, spec }) =>
      html`<li>
        <a href="/chat/${address}"><strong>${spec.title}</strong><span>${spec.description}</span></a>
      </li>`,
  );
  const none = html`<p>No assistant here is open to everyone. Use the application that brought you here.</p>`;
  return pageFrame(assets, {
    title: 'Assistants',
    description: 'The assistants that can be talked to here.',
    bodyClass: 'plain-page',
    content: html`<main id="main">
      <h1>Assistants</h1>
      ${
        entries.length === 0
          ? none
          : html`<ul class="assistants">
              ${entries}
            </ul>`
      }
    </main>`,
  });
}

/** Until the node knows what to serve. */
export function waitingPage(assets: PageAssets): string {
  const next = html`It does not know yet which assistants are here. This page looks again by itself.`;
  return noticePage(assets, 'Not ready yet', 'The server is starting', next);
}

/** Says in words why there is no chat at an address. */
export function missingPage(assets: PageAssets): string {
  const next = html`It may have been renamed or taken away. <a href="/">See which ones are here.</a>`;
  return noticePage(assets, 'Not found', 'There is no assistant at this address', next);
}

function noticePage(assets: PageAssets, title: string, says: string, next: ReturnType<typeof html>): string {
  return pageFrame(assets, {
    title,
    description: `${says}.`,
    bodyClass: 'plain-page',
    content: html`<main id="main">
      <h1>${says}</h1>
      <p>${next}</p>
    </main>`,
  });
}
