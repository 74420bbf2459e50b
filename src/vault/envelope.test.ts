import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { associate, openEnvelope, sealEnvelope } from './envelope.ts';

const headerBytes = 17;
const feffe = 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308';
const d931 =
  'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255';
const c522d =
  '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad';

/** D. McGrew and J. Viega, The Galois/Counter Mode of Operation (GCM), appendix B: the 96-bit nonce, 256-bit key cases. */
const specification = [
  {
    name: 'test case 13',
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    content: '',
    associated: '',
    ciphertext: '',
    tag: '530f8afbc74536b9a963b4f1c4cb738b',
  },
  {
    name: 'test case 14',
    key: '00'.repeat(32),
    nonce: '00'.repeat(12),
    content: '00'.repeat(16),
    associated: '',
    ciphertext: 'cea7403d4d606b6e074ec5d3baf39d18',
    tag: 'd0d1c8a799996bf0265b98b5d48ab919',
  },
  {
    name: 'test case 15',
    key: feffe,
    nonce: 'cafebabefacedbaddecaf888',
    content: d931,
    associated: '',
    ciphertext: c522d,
    tag: 'b094dac5d93471bdec1a502270e3cc6c',
  },
  {
    name: 'test case 16',
    key: feffe,
    nonce: 'cafebabefacedbaddecaf888',
    content: d931.slice(0, 120),
    associated: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    ciphertext: c522d.slice(0, 120),
    tag: '76fc6ece0f4e1768cddf8853bb2d551b',
  },
];

const hex = (text: string) => Buffer.from(text, 'hex');
const binding = () => ({
  key: createSecretKey(randomBytes(32)),
  keyVersion: 1,
  associatedData: associate('items', 'row'),
});

describe('sealing by AES-256-GCM', () => {
  test.each(specification)('makes and opens what the GCM specification gives, $name', (vector) => {
    const bound = { key: createSecretKey(hex(vector.key)), keyVersion: 7, associatedData: hex(vector.associated) };
    const sealed = sealEnvelope(bound, hex(vector.content), hex(vector.nonce));
    expect(sealed.subarray(0, headerBytes).toString('hex')).toBe(`0100000007${vector.nonce}`);
    expect(sealed.subarray(headerBytes).toString('hex')).toBe(vector.ciphertext + vector.tag);
    expect(openEnvelope(bound, sealed).toString('hex')).toBe(vector.content);
  });

  test('never uses a nonce twice on its own', () => {
    const bound = binding();
    const nonces = new Set(
      Array.from({ length: 500 }, () => sealEnvelope(bound, Buffer.alloc(0)).toString('hex', 5, headerBytes)),
    );
    expect(nonces.size).toBe(500);
  });
});

describe('opening', () => {
  test.each([4, 12, 15])('refuses a genuine tag of only %i bytes', (tagBytes) => {
    const bound = binding();
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', bound.key, nonce, { authTagLength: tagBytes });
    cipher.setAAD(bound.associatedData);
    const content = Buffer.concat([cipher.update('a content longer than any tag'), cipher.final()]);
    const sealed = Buffer.concat([hex('0100000001'), nonce, content, cipher.getAuthTag()]);
    expect(() => openEnvelope(bound, sealed)).toThrow(expect.objectContaining({ code: 'data_damaged' }));
  });

  test('refuses every shorter beginning of a sealed value', () => {
    const bound = binding();
    const sealed = sealEnvelope(bound, Buffer.from('some content'));
    for (let length = 0; length < sealed.length; length += 1) {
      expect(() => openEnvelope(bound, sealed.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'data_damaged' }),
      );
    }
  });

  test('refuses another format version and another key version', () => {
    const bound = binding();
    const sealed = sealEnvelope(bound, Buffer.from('some content'));
    const newer = Buffer.from(sealed);
    newer[0] = 2;
    expect(() => openEnvelope(bound, newer)).toThrow(/format/);
    expect(() => openEnvelope({ ...bound, keyVersion: 2 }, sealed)).toThrow(/key/);
  });

  test('tells nothing of the content when it refuses', () => {
    const bound = binding();
    const sealed = sealEnvelope(bound, Buffer.from('a secret sentence'));
    sealed[sealed.length - 1]! ^= 1;
    expect(() => openEnvelope(bound, sealed)).toThrow(expect.not.stringContaining('secret'));
  });
});

describe('associated data', () => {
  test('tells apart names that run together', () => {
    expect(associate('ab', 'c')).not.toEqual(associate('a', 'bc'));
    expect(associate('a', '')).not.toEqual(associate('a'));
    expect(Buffer.concat([associate('a'), associate('b', 'c')])).toEqual(associate('a', 'b', 'c'));
  });

  test('refuses lone surrogates, which would look like one another', () => {
    expect(() => associate('user-\ud800')).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });
});
