import { hkdfSync, type KeyObject } from 'node:crypto';

/** HKDF with SHA-256 (RFC 5869). `info` tells purposes apart; without a salt, as the section 3.1 default. */
export function deriveKey(
  material: KeyObject | Uint8Array,
  info: Uint8Array,
  { salt = new Uint8Array(0), lengthBytes = 32 }: { salt?: Uint8Array; lengthBytes?: number } = {},
): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', material, salt, info, lengthBytes));
}
