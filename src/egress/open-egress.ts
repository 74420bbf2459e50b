import { isIP } from 'node:net';
import type { IncomingHttpHeaders } from 'node:http';
import type { LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { lookup } from 'node:dns';
import { Pool, buildConnector, type Dispatcher } from 'undici';
import { isPublicAddress } from './public-address.ts';

/**
 * Which addresses may be reached. `configured`: the owner named this origin, so any address is
 * right, localhost and private networks included. `public`: someone else named it (a redirect, the
 * tool of an assistant), so only addresses of the public internet are.
 */
export type Reach = 'configured' | 'public';

export type EgressMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface EgressRequest {
  readonly method: EgressMethod;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface EgressReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readable;
}

/** The one way out: connections to a single origin, and to no other. Redirects are never followed. */
export interface Egress {
  readonly origin: string;
  /** Failures, thrown ones too, arrive at `handler.onResponseError`. */
  send(request: EgressRequest, handler: Dispatcher.DispatchHandler): void;
  /**
   * The same as a stream, off the hot path. Fails where the other side is silent for `silenceMs`;
   * the body must be read to its end or destroyed.
   */
  open(request: EgressRequest, silenceMs: number, signal: AbortSignal | undefined): Promise<EgressReply>;
  /** Destroys what is open. */
  close(): Promise<void>;
}

/** Upper bound of one connection attempt; the time-outs of an attempt are shorter in practice. */
const connectMaxMs = 30_000;
/** Below the 5 s after which common model servers (uvicorn, cpp-httplib) drop an idle connection. */
const keepAliveMs = 4_000;
/** An idle client object left over from a burst is let go after this long. */
const clientTtlMs = 300_000;

/**
 * Opens the way to `origin`. As many connections as there are running requests, up to `connectionsMax`
 * (for models admission is the balancer's), one request at a time on each; others wait. HTTP/2 stays off: there a cancelled request would
 * leave its connection to the next one. Proxy variables of the environment are not read.
 */
export function openEgress(origin: URL, reach: Reach = 'configured', connectionsMax?: number): Egress {
  const pool = new Pool(origin.origin, {
    connections: connectionsMax ?? null,
    pipelining: 1,
    allowH2: false,
    useMilo: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: 60_000,
    clientTtl: clientTtlMs,
    maxHeaderSize: 32 * 1024,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: reach === 'configured' ? { timeout: connectMaxMs } : publicConnector(),
  });
  return {
    origin: origin.origin,
    send: (request, handler) => {
      pool.dispatch(request, handler);
    },
    open: async (request, silenceMs, signal) => {
      const { statusCode, headers, body } = await pool.request({
        ...request,
        headersTimeout: silenceMs,
        bodyTimeout: silenceMs,
        ...(signal === undefined ? {} : { signal }),
      });
      // Who reads is told by the reading; one that is destroyed unread must not end the process.
      body.on('error', () => undefined);
      return { status: statusCode, headers, body };
    },
    close: () => pool.destroy(),
  };
}

/** Checks the address that is connected to, not the name: a name that resolves anew cannot slip by. */
function publicConnector(): buildConnector.connector {
  const connect = buildConnector({ timeout: connectMaxMs, allowH2: false, lookup: publicLookup });
  return (options, callback) => {
    const host = options.hostname.replace(/^\[|\]$/g, '');
    // The lookup hook is skipped for literal addresses.
    if (isIP(host) !== 0 && !isPublicAddress(host)) {
      callback(closedAddressError(), null);
      return;
    }
    connect(options, callback);
  };
}

const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) {
      callback(error, []);
      return;
    }
    if (addresses.length === 0 || !addresses.every((entry) => isPublicAddress(entry.address))) {
      callback(closedAddressError(), []);
      return;
    }
    const first = addresses[0]!;
    if (options.all) callback(null, addresses);
    else callback(null, first.address, first.family);
  });
};

function closedAddressError(): NodeJS.ErrnoException {
  return Object.assign(new Error('the address is not on the public internet'), { code: 'EADDRCLOSED' });
}
