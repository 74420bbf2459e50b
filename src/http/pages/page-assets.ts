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

const own = (name: string): string => fileURLToPath(new URL(`./assets/${name}`, import.meta.url));
/** The modules that other packages publish for browsers. */
const foreign = (name: string): string => fileURLToPath(import.meta.resolve(name));

const modules = [
  'chat.js',
  'answer-end.js',
  'answer-stream.js',
  'chat-client.js',
  'composer.js',
  'dompurify.js',
  'elements.js',
  'exchange-view.js',
  'failure.js',
  'history-view.js',
  'host-page.js',
  'markdown.js',
  'marked.js',
  'place.js',
  'rating-view.js',
  'recorded-exchanges.js',
  'stage.js',
  'theme-switch.js',
] as const;
const others = ['chat.css', 'favicon.svg', 'theme.js', 'widget.js'] as const;

export type AssetName = (typeof modules)[number] | (typeof others)[number];

/** What the chat page runs on: a browser that is told of all at once need not find them one by one. */
export const pageModules: readonly AssetName[] = modules;

const contentTypes: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** Reads every file once. @throws Error where one is missing: the package is not whole */
export function loadPageAssets(): PageAssets {
  const assets = new Map<string, Asset>([...modules, ...others].map((name) => [name, load(name)]));
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

function load(name: AssetName): Asset {
  const path = name === 'marked.js' || name === 'dompurify.js' ? foreign(name.slice(0, -3)) : own(name);
  // A source map would be looked for beside the file, where there is none.
  const text = readFileSync(path, 'utf8').replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
  const plain = Buffer.from(text);
  const contentType = contentTypes[name.slice(name.lastIndexOf('.') + 1)] ?? '';
  return { contentType, plain, packed: gzipSync(plain, { level: 9 }) };
}

function sendAsset(exchange: Exchange, { contentType, plain, packed }: Asset): void {
  exchange.setHeader('vary', 'accept-encoding');
  const takesGzip = /\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))/.test(exchange.headers['accept-encoding'] ?? '');
  if (takesGzip) exchange.setHeader('content-encoding', 'gzip');
  exchange.send(200, contentType, takesGzip ? packed : plain);
}
