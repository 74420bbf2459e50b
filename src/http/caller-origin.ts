import { BlockList, isIP, type Socket } from 'node:net';
import type { IncomingMessage } from 'node:http';
import { UsherError } from '#base';

export interface ListenOptions {
  readonly host: string;
  /** 0 for any free one. */
  readonly port: number;
  /** How others reach us, where a proxy stands before us; else derived from `Host`. */
  readonly publicUrl: string | undefined;
  /** Addresses or networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-*` are believed. */
  readonly trustedProxies: readonly string[];
}

export interface CallerOrigin {
  /** `https://chat.example.org`. @throws UsherError `invalid_request` for a host that is malformed or not ours */
  originOf(request: IncomingMessage): string;
  /** The caller's address; behind a trusted proxy the last one it added. */
  addressOf(request: IncomingMessage): string;
  /** Whether the caller sits on this machine, calls it by its own name, and no proxy shows itself. */
  isLocal(request: IncomingMessage): boolean;
  /** Whether many callers may stand behind the socket: it is a trusted proxy's, or comes from this machine. */
  isOfMany(socket: Socket): boolean;
}

const loopbackNames = new Set(['localhost', '127.0.0.1', '[::1]']);
/** What proxies add; one that adds none of them cannot be told from a caller on this machine. */
const proxyHeaders = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip'];
/** RFC 9110 section 7.2: a name or address with an optional port, and nothing else. */
const hostForm = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\.?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

/**
 * Tells from where a request came. A node that listens on loopback only and has no public URL
 * answers to loopback names alone: else any web page could reach it by rebinding its own name.
 * @throws UsherError `config_invalid` for a trusted proxy that is no address
 */
export function createCallerOrigin(listen: ListenOptions): CallerOrigin {
  const publicOrigin = listen.publicUrl === undefined ? undefined : new URL(listen.publicUrl).origin;
  const publicHost = publicOrigin === undefined ? undefined : new URL(publicOrigin).host;
  const loopbackOnly = isLoopback(listen.host) || listen.host === 'localhost';
  const isTrusted = trust(listen.trustedProxies);

  return {
    originOf(request) {
      const trusted = isTrusted(request.socket);
      const host = ((trusted && lastOf(request.headers['x-forwarded-host'])) || request.headers.host) ?? '';
      if (!hostForm.test(host)) throw new UsherError('invalid_request', 'The Host header is missing or malformed.');
      const lower = host.toLowerCase();
      if (loopbackOnly && !trusted && lower !== publicHost && !loopbackNames.has(lower.replace(/:\d+$/, ''))) {
        throw new UsherError(
          'invalid_request',
          'This node answers to loopback names only; set listen.publicUrl to the address that callers use.',
        );
      }
      if (publicOrigin !== undefined) return publicOrigin;
      const proto = trusted ? lastOf(request.headers['x-forwarded-proto']) : undefined;
      return `${proto === 'https' ? 'https' : 'http'}://${lower}`;
    },
    addressOf(request) {
      const told = isTrusted(request.socket) ? lastOf(request.headers['x-forwarded-for']) : undefined;
      // Some proxies put the port to it.
      const seen = told?.replace(/^\[([\da-f:.]+)\](?::\d+)?$|^([\d.]+):\d+$/i, '$1$2');
      return seen !== undefined && isIP(seen) > 0 ? seen : (request.socket.remoteAddress ?? '');
    },
    isOfMany: (socket) => isTrusted(socket) || isLoopback(socket.remoteAddress ?? ''),
    isLocal(request) {
      const { headers, socket } = request;
      return (
        publicOrigin === undefined &&
        listen.trustedProxies.length === 0 &&
        isLoopback(socket.remoteAddress ?? '') &&
        // A page that rebinds its own name to this machine, or whose host names itself.
        loopbackNames.has((headers.host ?? '').toLowerCase().replace(/:\d+$/, '')) &&
        (headers.origin === undefined || headers.origin === `http://${headers.host}`) &&
        proxyHeaders.every((name) => headers[name] === undefined)
      );
    },
  };
}

function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === '::1';
}

/** A proxy may append to what its own caller sent: only the last entry is its own word. */
function lastOf(header: string | string[] | undefined): string | undefined {
  if (header === undefined) return undefined;
  const text = typeof header === 'string' ? header : header.join(',');
  return text.slice(text.lastIndexOf(',') + 1).trim();
}

function trust(proxies: readonly string[]): (socket: Socket) => boolean {
  if (proxies.length === 0) return () => false;
  const list = new BlockList();
  for (const proxy of proxies) {
    const [address = '', bits] = proxy.split('/');
    const version = isIP(address);
    if (version === 0) {
      throw new UsherError('config_invalid', `listen.trustedProxies: "${proxy}" is no address or network.`);
    }
    const family = version === 6 ? 'ipv6' : 'ipv4';
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  }
  return ({ remoteAddress }) => {
    if (remoteAddress === undefined) return false;
    const plain = remoteAddress.startsWith('::ffff:') ? remoteAddress.slice(7) : remoteAddress;
    return list.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4');
  };
}
