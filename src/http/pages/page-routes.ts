import { UsherError } from '#base';
import type { UserTokens } from '#control';
import type { TurnRooms } from '#turn';
import type { Exchange, Route } from '../exchange.ts';
import { pageSecurityPolicy } from '../security-headers.ts';
import { chatPage } from './chat-page.ts';
import { frontPage, missingPage, waitingPage } from './front-page.ts';
import { historyRoutes } from './history-routes.ts';
import { loadPageAssets, type PageAssets } from './page-assets.ts';
import { openPageDirectory, type PageDirectory, type PagedAssistant } from './page-directory.ts';
import { userTokenRoutes } from './user-token-routes.ts';
import { visitRoutes } from './visit-routes.ts';

export interface PageOptions {
  readonly rooms: TurnRooms;
  readonly tokens: UserTokens;
  /** Which model answers, in a sentence. */
  readonly models: string;
}

/** The chat page and the widget, with what they need beside the OpenAI wire. */
export function pageRoutes({ rooms, tokens, models }: PageOptions): Route[] {
  const assets = loadPageAssets();
  const directory = openPageDirectory(rooms.releases);
  const page = (path: string, summary: string, why: string, handle: Route['handle']): Route => ({
    method: 'GET',
    path,
    policy: { access: 'public', why },
    summary,
    handle,
  });
  return [
    page(
      '/',
      'The front page: the assistants that are open to everyone.',
      'says which assistants are open to everyone',
      (exchange) => sendFront(assets, directory, exchange),
    ),
    page(
      '/chat/:assistant',
      'The chat page of an assistant; `?embed=1&from=<origin>` asks for it as a frame of a site.',
      'holds nothing of anybody; what was said needs a token',
      (exchange) => sendChat(assets, directory, models, exchange),
    ),
    page(
      '/assets/:digest/:file',
      'A script or style of the pages.',
      'the files of the pages are the same for everyone',
      async (exchange) => {
        if (!assets.send(exchange, exchange.params['file']!, exchange.params['digest'])) throw noFile();
      },
    ),
    page(
      '/widget.js',
      'The script with which a site embeds the chat.',
      'the script that sites embed is the same for everyone',
      async (exchange) => {
        exchange.setHeader('cross-origin-resource-policy', 'cross-origin');
        assets.send(exchange, 'widget.js');
      },
    ),
    page('/favicon.ico', 'The icon of the pages.', 'browsers ask for it by themselves', async (exchange) => {
      assets.send(exchange, 'favicon.svg');
    }),
    ...visitRoutes({ directory, tokens, clock: rooms.clock }),
    ...historyRoutes({ rooms, directory }),
    ...userTokenRoutes({ rooms, tokens }),
  ];
}

/** Where one assistant alone is open to everyone, it is the front page. */
async function sendFront(assets: PageAssets, directory: PageDirectory, exchange: Exchange): Promise<void> {
  const assistants = await directory.listPublic().catch((error: unknown) => refuse(assets, exchange, error));
  if (assistants === undefined) return;
  const [only, ...others] = assistants;
  if (only !== undefined && others.length === 0) {
    exchange.setHeader('location', `/chat/${only.address}`);
    return exchange.send(302, 'text/plain; charset=utf-8', '');
  }
  sendPage(exchange, 200, frontPage(assets, assistants), []);
}

async function sendChat(
  assets: PageAssets,
  directory: PageDirectory,
  models: string,
  exchange: Exchange,
): Promise<void> {
  const assistant = await directory
    .open(exchange.params['assistant']!)
    .catch((error: unknown) => refuse(assets, exchange, error));
  if (assistant === undefined) return;
  const host = hostOf(assistant, exchange);
  const { origins } = assistant.spec.page;
  sendPage(exchange, 200, chatPage(assets, { assistant, models, host }), host === undefined ? [] : origins);
}

/** Tells a person in a page what programs are told by the error. @throws what was caught, for programs */
function refuse(assets: PageAssets, exchange: Exchange, error: unknown): undefined {
  const wantsPage = (exchange.headers.accept ?? '').includes('text/html');
  const code = wantsPage && error instanceof UsherError ? error.code : undefined;
  if (code === 'not_found') sendPage(exchange, 404, missingPage(assets), []);
  else if (code === 'not_ready') {
    exchange.setHeader('refresh', '5');
    sendPage(exchange, 503, waitingPage(assets), []);
  } else throw error;
}

/** The site whose frame this is, where it asks for one and the assistant allows it. */
function hostOf({ spec }: PagedAssistant, { query }: Exchange): string | undefined {
  if (query.get('embed') !== '1') return undefined;
  return spec.page.origins.find((origin) => origin === query.get('from'));
}

function sendPage(exchange: Exchange, status: number, page: string, frameAncestors: readonly string[]): void {
  // Text becomes markup by the sanitiser's own policy alone; any other way is refused by the browser.
  const trusted = "require-trusted-types-for 'script'; trusted-types dompurify";
  exchange.setHeader('content-security-policy', `${pageSecurityPolicy(frameAncestors)}; ${trusted}`);
  exchange.setHeader('cache-control', 'no-cache');
  exchange.send(status, 'text/html; charset=utf-8', page);
}

function noFile(): UsherError {
  return new UsherError('not_found', 'There is no such file.');
}
