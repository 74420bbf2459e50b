import { describe, expect, test } from 'vitest';
import { makeApiKey } from './api-key.ts';
import { credentialOf } from './credential.ts';

const key = makeApiKey();
const other = makeApiKey();
const token = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl';

describe('the credential of a request', () => {
  test.each([
    ['Authorization: Bearer', { authorization: `Bearer ${key}` }],
    ['the scheme in other letters', { authorization: `bearer ${key}` }],
    ['api-key', { 'api-key': key }],
    ['x-api-key', { 'x-api-key': key }],
    ['the same one in every header', { authorization: `Bearer ${key}`, 'api-key': key, 'x-api-key': key }],
    ['a header that came twice with the same', { 'x-api-key': [key, key] }],
  ])('is a key in %s', (_, headers) => {
    expect(credentialOf(headers)).toEqual({ kind: 'key', key });
  });

  test.each([
    ['Authorization: Bearer', { authorization: `Bearer ${token}` }],
    ['api-key', { 'api-key': token }],
    ['x-api-key', { 'x-api-key': token }],
  ])('is an end-user token by its shape in %s', (_, headers) => {
    expect(credentialOf(headers)).toEqual({ kind: 'token', token });
  });

  test('is none where no header carries one', () => {
    expect(credentialOf({ host: 'localhost', cookie: `api-key=${key}` })).toEqual({ kind: 'none' });
  });

  test.each([
    ['two headers with different keys', { authorization: `Bearer ${key}`, 'x-api-key': other }],
    ['a key beside a token', { authorization: `Bearer ${token}`, 'api-key': key }],
    ['a key beside an empty header', { authorization: `Bearer ${key}`, 'api-key': '' }],
    ['a header twice with different keys', { 'x-api-key': [key, other] }],
    ['a header twice that Node joined', { 'x-api-key': `${key}, ${other}` }],
    ['an Authorization header that Node joined', { authorization: `Bearer ${key}, Bearer ${other}` }],
    ['the Basic scheme', { authorization: `Basic ${Buffer.from(`user:${key}`).toString('base64')}` }],
    ['the Basic scheme beside a key', { authorization: 'Basic dXNlcjpwYXNz', 'api-key': key }],
    ['a key without its scheme', { authorization: key }],
    ['a scheme without a key', { authorization: 'Bearer ' }],
    ['a key cut short', { authorization: `Bearer ${key.slice(0, -1)}` }],
    ['a key of OpenAI', { authorization: 'Bearer sk-proj-abcdef' }],
    ['text that is SQL', { 'api-key': "' OR '1'='1" }],
    ['a token of endless length', { 'api-key': `a.${'b'.repeat(100_000)}.c` }],
    ['a token with an empty part', { 'api-key': 'eyJhbGciOiJub25lIn0.e30.' }],
  ])('is malformed with a mend: %s', (_, headers) => {
    expect(credentialOf(headers)).toEqual({ kind: 'malformed', mend: expect.stringMatching(/\.$/) as string });
  });
});
