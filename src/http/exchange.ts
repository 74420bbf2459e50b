import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import type { Principal, Scope } from '#access';

/**
 * Who may use a route. There is no default: a route without a policy does not compile, and one
 * whose policy contradicts its path fails at start-up. `operator`: a key with scope `observe`, or
 * anyone on the machine itself where no proxy is configured.
 */
export type Policy =
  | { readonly access: 'public'; readonly why: string }
  | { readonly access: 'operator'; readonly why: string }
  | { readonly access: 'principal'; readonly kinds: readonly Principal['kind'][]; readonly scope: Scope };

/** One request and the only ways to answer it. */
export interface Exchange {
  readonly requestId: string;
  /** As sent: `HEAD` where a GET route is asked for its headers alone. */
  readonly method: string;
  /** Without the query, as sent. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Percent-decoded; never empty, and without slashes and NUL. */
  readonly params: Readonly<Record<string, string>>;
  /** Who calls; present on every `principal` route. @throws UsherError on any other. */
  readonly principal: Principal;
  /** How the caller reached us: `https://chat.example.org`, never ending in a slash. */
  readonly origin: string;
  /** The caller's address; behind a trusted proxy the one that the proxy saw. */
  readonly clientAddress: string;
  /** Aborts as soon as the client is gone, with UsherError `client_gone` as its reason. */
  readonly signal: AbortSignal;
  /**
   * The JSON body, within the caps; undefined where the body is empty. May be called once.
   * @throws UsherError `invalid_request`, `too_large`, `unsupported_media_type`, `request_timeout`, `client_gone`
   */
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
   * the reader was dropped for being too slow or left. Writing on without waiting drops the reader.
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
  /** What it does, in a sentence, for the reference. */
  readonly summary: string;
  /** What `handle` reads the JSON body with; absent: none is read. */
  readonly body?: z.ZodType;
  /** What `handle` reads the query with; absent: none is read. */
  readonly query?: z.ZodType;
  /** What comes back, in a sentence; absent: the summary says it. */
  readonly answer?: string;
  readonly handle: (exchange: Exchange) => Promise<void>;
}
