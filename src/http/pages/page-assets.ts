import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Exchange } from '../exchange.ts';

/** One file as it is sent. */
interface Asset {
  readonly contentType: string;
  readonly plain: Buffer;
  readonly packed: Buffer;
}

/** The files that the pages use, held in memory: nothing of a request's path ever reaches the disk. */
export interface PageAssets {
  /** Where a page finds a file: names the digest of all of them, so that it may be kept for ever. */
  address(name: AssetName): string;
  /** False where there is no such file. `digest` as the request's path named it, where it named one. */
  send(exchange: Exchange, name: string, digest?: string): boolean;
}

const forEver = 'public, max-age=31536000, immutable';
/** Under an address that stays the same when the file changes. */
const forMinutes = 'public, max-age=300';
/** While a fleet is renewed, a page of one version may ask a node of another: served, but not kept. */
const never = 'no-cache';

const script = 'text/javascript; charset=utf-8';
const own = (name: string): string => fileURLToPath(new URL(`./assets/${name}`, import.meta.url));
/** The modules that other packages publish for browsers. */
const foreign = (name: string): string => fileURLToPath(import.meta.resolve(name));

const files = {
  'chat.css': { contentType: 'text/css; charset=utf-8', path: () => own('chat.css') },
  'rating-view.js': { contentType: script, path: () => own('rating-view.js') },
  'theme.js': { contentType: script, path: () => own('theme.js') },
  'chat.js': { contentType: script, path: () => own('chat.js') },
  'answer-stream.js': { contentType: script, path: () => own('answer-stream.js') },
  'chat-client.js': { contentType: script, path: () => own('chat-client.js') },
  'composer.js': { contentType: script, path: () => own('composer.js') },
  'elements.js': { contentType: script, path: () => own('elements.js') },
  'exchange-view.js': { contentType: script, path: () => own('exchange-view.js') },
  'failure.js': { contentType: script, path: () => own('failure.js') },
  'history-view.js': { contentType: script, path: () => own('history-view.js') },
  'host-page.js': { contentType: script, path: () => own('host-page.js') },
  'markdown.js': { contentType: script, path: () => own('markdown.js') },
  'widget.js': { contentType: script, path: () => own('widget.js') },
  'favicon.svg': { contentType: 'image/svg+xml', path: () => own('favicon.svg') },
  'marked.js': { contentType: script, path: () => foreign('marked') },
  'dompurify.js': { contentType: script, path: () => foreign('dompurify') },
} as const;

export type AssetName = keyof typeof files;

/** Reads every file once. @throws Error where one is missing: the package is not whole */
export function loadPageAssets(): PageAssets {
  const assets = new Map(Object.entries(files).map(([name, file]) => [name, load(file.contentType, file.path())]));
  const hash = createHash('sha256');
  for (const [name, { plain }] of assets) hash.update(`${name}\0${plain.length}\0`).update(plain);
  const current = hash.digest('hex').slice(0, 16);
  return {
    address: (name) => `/assets/${current}/${name}`,
    send: (exchange, name, digest) => {
      const asset = assets.get(name);
      if (asset === undefined) return false;
      exchange.setHeader('cache-control', digest === undefined ? forMinutes : digest === current ? forEver : never);
      sendAsset(exchange, asset);
      return true;
    },
  };
}

/** A source map would be looked for beside the file, where there is none. */
function load(contentType: string, path: string): Asset {
  const text = readFileSync(path, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  const plain = Buffer.from(text);
  return { contentType, plain, packed: gzipSync(plain, { level: 9 }) };
}

function sendAsset(exchange: Exchange, { contentType, plain, packed }: Asset): void {
  exchange.setHeader('vary', 'accept-encoding');
  const takesGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(exchange.headers['accept-encoding'] ?? '');
  if (takesGzip) exchange.setHeader('content-encoding', 'gzip');
  exchange.send(200, contentType, takesGzip ? packed : plain);
}
