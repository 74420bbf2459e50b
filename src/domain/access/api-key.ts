import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Branded } from '#base';

/** A whole API key: a secret, shown once, never stored. */
export type ApiKey = Branded<string, 'ApiKey'>;

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const prefix = 'usher_';
const secretBytes = 20;
/** 62^27 > 2^160 and 62^6 > 2^32. */
const secretDigits = 27;
const checksumDigits = 6;
const shape = new RegExp(`^${prefix}[0-9A-Za-z]{${secretDigits + checksumDigits}}$`);

/**
 * A new API key: `usher_`, 160 random bits as 27 base62 digits, and the CRC-32 of all that as 6
 * more, so that a typing error or a scanner's find is told from a real key without asking a server.
 */
export function makeApiKey(secret: Uint8Array = randomBytes(secretBytes)): ApiKey {
  const body = prefix + base62(BigInt(`0x${Buffer.from(secret).toString('hex')}`), secretDigits);
  return (body + checksum(body)) as ApiKey;
}

/** Whether the text is a whole key by its shape and checksum; says nothing about its validity. */
export function checkApiKey(text: string): text is ApiKey {
  return shape.test(text) && text.endsWith(checksum(text.slice(0, -checksumDigits)));
}

/** What is stored of a key. Without salt or stretching: 160 random bits cannot be guessed. */
export function hashApiKey(key: ApiKey): Buffer {
  return Buffer.from(apiKeyDigest(key), 'hex');
}

/** The same hash in hex, to know a key by in memory: asked on each request, and a string costs a third of a buffer. */
export function apiKeyDigest(key: ApiKey): string {
  return hash('sha256', key);
}

/** What a list shows of a key to recognise it by; 136 bits or more stay unknown. */
export function apiKeyPrefix(key: ApiKey): string {
  return key.slice(0, prefix.length + 4);
}

function checksum(body: string): string {
  return base62(BigInt(crc32(body)), checksumDigits);
}

function base62(value: bigint, digits: number): string {
  let rest = value;
  let text = '';
  for (let digit = 0; digit < digits; digit += 1) {
    text = alphabet[Number(rest % 62n)]! + text;
    rest /= 62n;
  }
  return text;
}
