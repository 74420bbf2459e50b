import { isIPv6 } from 'node:net';

/** What a limit by address counts as one caller: a household has a whole IPv6 network of 64 bits. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  const groups = new URL(`http://[${address.split('%')[0]}]`).hostname.slice(1, -1).split('::');
  const head = (groups[0] ?? '').split(':').filter((group) => group !== '');
  const tail = (groups[1] ?? '').split(':').filter((group) => group !== '');
  const gap = Array.from({ length: groups.length > 1 ? 8 - head.length - tail.length : 0 }, () => '0');
  return [...head, ...gap, ...tail].slice(0, 4).join(':');
}
