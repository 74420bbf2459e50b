import { describe, expect, test } from 'vitest';
import { deriveKey } from './derive-key.ts';

const hex = (text: string) => Buffer.from(text, 'hex');
const range = (from: number, to: number) => Uint8Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** RFC 5869, appendix A.1 to A.3. */
const vectors = [
  {
    name: 'A.1',
    material: hex('0b'.repeat(22)),
    salt: range(0x00, 0x0c),
    info: range(0xf0, 0xf9),
    output: '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
  },
  {
    name: 'A.2',
    material: range(0x00, 0x4f),
    salt: range(0x60, 0xaf),
    info: range(0xb0, 0xff),
    output:
      'b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87',
  },
  {
    name: 'A.3',
    material: hex('0b'.repeat(22)),
    salt: new Uint8Array(0),
    info: new Uint8Array(0),
    output: '8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8',
  },
];

describe('deriving keys by HKDF-SHA256', () => {
  test.each(vectors)('gives the output of RFC 5869, $name', ({ material, salt, info, output }) => {
    const key = deriveKey(material, info, { salt, lengthBytes: output.length / 2 });
    expect(Buffer.from(key).toString('hex')).toBe(output);
  });
});
