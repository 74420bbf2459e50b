import { createSecretKey, type KeyObject } from 'node:crypto';
import { UsherError } from '#base';
import { deriveKey } from './derive-key.ts';
import { associate } from './envelope.ts';

export interface RootKey {
  /** Derived from the key by a one-way function: tells which root wrapped a tenant key. */
  readonly id: string;
  readonly key: KeyObject;
}

/** @throws UsherError `config_invalid` unless the key has 32 bytes. */
export function rootKey(bytes: Uint8Array): RootKey {
  if (bytes.length !== 32) {
    throw new UsherError(
      'config_invalid',
      `A root key must be exactly 32 bytes, this one has ${bytes.length}. Make one with: openssl rand -base64 32`,
    );
  }
  // 64 bits of an HKDF output name the key without telling anything about it.
  const id = deriveKey(bytes, associate('root key id'), { lengthBytes: 8 });
  return { id: `root-${Buffer.from(id).toString('hex')}`, key: createSecretKey(bytes) };
}
