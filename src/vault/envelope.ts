import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from 'node:crypto';
import { UsherError } from '#base';

const algorithm = 'aes-256-gcm';
const formatVersion = 1;
const keyVersionAt = 1;
const nonceAt = 5;
const nonceBytes = 12;
const contentAt = nonceAt + nonceBytes;
const tagBytes = 16;

/** Names the key and the place that a sealed value belongs to. */
export interface Binding {
  readonly key: KeyObject;
  readonly keyVersion: number;
  readonly associatedData: Uint8Array;
}

/**
 * Seals by AES-256-GCM (NIST SP 800-38D). Layout: format version (1 byte), key version (4, big
 * endian), nonce (12), ciphertext, tag (16). Only tests pass a nonce: a repeated one breaks GCM.
 * Random nonces hold for 2^32 values under one key, which is per subject here.
 */
export function sealEnvelope(
  { key, keyVersion, associatedData }: Binding,
  content: Uint8Array,
  nonce: Uint8Array = randomBytes(nonceBytes),
): Buffer {
  const header = Buffer.allocUnsafe(contentAt);
  header[0] = formatVersion;
  header.writeUInt32BE(keyVersion, keyVersionAt);
  header.set(nonce, nonceAt);
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(associatedData);
  return Buffer.concat([header, cipher.update(content), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Opens what `sealEnvelope` made under the same binding.
 * @throws UsherError `data_damaged` for anything else: changed, cut short, moved, another key's.
 */
export function openEnvelope({ key, keyVersion, associatedData }: Binding, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (bytes.length < contentAt + tagBytes) throw damaged('is cut short');
  if (bytes[0] !== formatVersion) throw damaged('has a format that this version of Usher does not know');
  if (bytes.readUInt32BE(keyVersionAt) !== keyVersion) throw damaged('names a key that it is not stored with');
  const tagAt = bytes.length - tagBytes;
  const nonce = bytes.subarray(nonceAt, contentAt);
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(associatedData);
  decipher.setAuthTag(bytes.subarray(tagAt));
  const content = decipher.update(bytes.subarray(contentAt, tagAt));
  try {
    return Buffer.concat([content, decipher.final()]);
  } catch {
    throw damaged('was changed, moved to another row, or sealed under another key');
  }
}

/**
 * Fields in one unambiguous byte string: each as its length in UTF-8 bytes (4, big endian) and the
 * bytes. Joining two of these is the same as one over both lists.
 *
 * @throws UsherError `invalid_request` for lone surrogates, which UTF-8 would fold into one character.
 */
export function associate(...fields: readonly string[]): Buffer {
  const parts: Buffer[] = [];
  for (const field of fields) {
    if (!field.isWellFormed()) throw new UsherError('invalid_request', 'A name must be well-formed Unicode text.');
    const text = Buffer.from(field, 'utf8');
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(text.length);
    parts.push(length, text);
  }
  return Buffer.concat(parts);
}

function damaged(what: string): UsherError {
  return new UsherError(
    'data_damaged',
    `A stored value ${what}. Nothing was overwritten; restore the database from a backup made together with its keys.`,
  );
}
