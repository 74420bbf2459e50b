import { BlockList, isIP } from 'node:net';
import type { IncomingHttpHeaders } from 'node:http';
import type { LookupFunction } from 'node:net';
import type { Readable } from 'node:stream';
import { lookup } from 'node:dns';
import { Pool, buildConnector, type Dispatcher } from 'undici';

/**
 * Which addresses may be reached. `configured`: the owner named this origin, so any address is
 * right, localhost and private networks included. `public`: someone else named it (a redirect),
 * so only addresses of the public internet are.
 */
export type Reach = 'configured' | 'public';

export interface EgressRequest {
  readonly method: 'GET' | 'POST';
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
 * Opens the way to `origin`. As many connections as there are running requests (admission is the
 * balancer's), one request at a time on each. HTTP/2 stays off: there a cancelled request would
 * leave its connection to the next one. Proxy variables of the environment are not read.
 */
export function openEgress(origin: URL, reach: Reach = 'configured'): Egress {
  const pool = new Pool(origin.origin, {
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
      return { status: statusCode, headers, body };
    },
    close: () => pool.destroy(),
  };
}

/** RFC 6890 and its successors: every block that is not the public internet. */
const closedBlocks: readonly (readonly [address: string, prefix: number, family: 'ipv4' | 'ipv6'])[] = [
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.0.2.0', 24, 'ipv4'],
  ['192.88.99.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['198.51.100.0', 24, 'ipv4'],
  ['203.0.113.0', 24, 'ipv4'],
  ['224.0.0.0', 3, 'ipv4'],
];
const closedAddresses = new BlockList();
for (const [address, prefix, family] of closedBlocks) closedAddresses.addSubnet(address, prefix, family);
/** Of IPv6 only global unicast is open, less documentation and the ranges that carry an IPv4 address. */
const openAddresses6 = new BlockList();
openAddresses6.addSubnet('2000::', 3, 'ipv6');
const closedAddresses6 = new BlockList();
closedAddresses6.addSubnet('2001::', 23, 'ipv6');
closedAddresses6.addSubnet('2001:db8::', 32, 'ipv6');
closedAddresses6.addSubnet('2002::', 16, 'ipv6');
closedAddresses6.addSubnet('3fff::', 20, 'ipv6');

/** Whether a literal address belongs to the public internet. IPv4-mapped IPv6 does not. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !closedAddresses.check(address, 'ipv4');
  return family === 6 && openAddresses6.check(address, 'ipv6') && !closedAddresses6.check(address, 'ipv6');
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
