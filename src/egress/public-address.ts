import { BlockList, isIP } from 'node:net';

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
