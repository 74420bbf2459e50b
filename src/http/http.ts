import type { IncomingHttpHeaders } from 'node:http';
import type { Principal, Scope } from '#access';

/**
 * Who may use a route. There is no default: a route without a policy does not compile, and one
 * whose policy contradicts its path fails at start-up.
 */
export type Policy =
  | { readonly access: 'public'; readonly why: string }
  | { readonly access: 'principal'; readonly kinds: readonly Principal['kind'][]; readonly scope: Scope };

/** One request and the only ways to answer it. */
export interface Exchange {
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly params: Readonly<Record<string, string>>;
  /** Who calls; present on every route but public ones. @throws UsherError on a public route. */
  readonly principal: Principal;
  /** How the caller reached us: `https://chat.example.org`, never ending in a slash. */
  readonly origin: string;
  /** Aborts as soon as the client is gone. */
  readonly signal: AbortSignal;
  /** The JSON body, within the caps. @throws UsherError `invalid_request`, `too_large`, `unsupported_media_type` */
  json(): Promise<unknown>;
  setHeader(name: string, value: string): void;
  sendJson(status: number, body: unknown): void;
  send(status: number, contentType: string, body: string | Uint8Array): void;
  /** Status 200 and headers of an event stream, at once. From here failure is in-band. */
  openStream(): EventStream;
}

export interface EventStream {
  /**
   * One whole event block, or several, never split over two writes. A returned promise is
   * backpressure: it settles when the reader has caught up, and rejects with `client_gone` when
   * the reader was dropped for being too slow or left.
   */
  write(block: string): void | Promise<void>;
  /** A clean end: only after the terminal event. */
  end(): void;
  /** Tears the connection down, so that no client takes the rest for the whole. */
  destroy(): void;
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** `/v1/conversations/:conversation`; a segment with a colon is a parameter. */
  readonly path: string;
  readonly policy: Policy;
  readonly handle: (exchange: Exchange) => Promise<void>;
}
