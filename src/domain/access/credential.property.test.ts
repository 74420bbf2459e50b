import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { makeApiKey } from './api-key.ts';
import { credentialOf } from './credential.ts';

const key = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(makeApiKey);
const text = fc.oneof(
  key,
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('', ' ', 'Bearer', 'Bearer  ', ','),
);
const value = fc.oneof(
  text,
  text.map((credential) => `Bearer ${credential}`),
  fc.array(text, { maxLength: 3 }),
);
const headers = fc.record(
  { authorization: value, 'api-key': value, 'x-api-key': value, cookie: value },
  { requiredKeys: [] },
);

describe('whatever headers a caller sends', () => {
  test('they are read without failing, and a key comes out only if every one of them says it', () => {
    fc.assert(
      fc.property(headers, (sent) => {
        const credential = credentialOf(sent);
        if (credential.kind !== 'key') return;
        const said = [sent.authorization, sent['api-key'], sent['x-api-key']].flat().filter((one) => one !== undefined);
        for (const one of said) expect(one.trim().replace(/^bearer +/i, '')).toBe(credential.key);
      }),
    );
  });

  test('two keys are never one credential, in whichever headers and however they are written', () => {
    const name = fc.constantFrom('authorization', 'api-key', 'x-api-key');
    const write = (header: string, credential: string) =>
      header === 'authorization' ? `Bearer ${credential}` : credential;
    fc.assert(
      fc.property(key, key, name, name, (one, two, first, second) => {
        fc.pre(one !== two);
        const sent =
          first === second
            ? { [first]: [write(first, one), write(first, two)] }
            : { [first]: write(first, one), [second]: write(second, two) };
        expect(credentialOf(sent).kind).toBe('malformed');
      }),
    );
  });
});
