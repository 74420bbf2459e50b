import { expect, test } from 'vitest';
import { termsOf, words } from './terms.ts';

test.each([
  [['cache', 'caches', 'cached', 'caching']],
  [['policy', 'policies']],
  [['stop', 'stops', 'stopped', 'stopping']],
  [['address', 'addresses']],
  [['box', 'boxes']],
  [['call', 'calls', 'called', 'calling']],
])('forms of one word meet: %j', (forms) => {
  expect(new Set(forms.map((form) => termsOf(form)?.[0])).size).toBe(1);
});

test.each([
  ['thing', 'th'],
  ['status', 'statu'],
  ['analysis', 'analysi'],
  ['string', 'str'],
  ['need', 'ne'],
])('an ending that belongs to the word stays: %s', (word, cut) => {
  expect(termsOf(word)).not.toContain(cut);
});

test('umlauts are found by both ways of writing them without', () => {
  expect(termsOf('Größe')).toEqual(expect.arrayContaining(termsOf('grosse')!));
  expect(termsOf('Größe')).toEqual(expect.arrayContaining(termsOf('groesse')!));
  expect(termsOf('u\u{308}ber\u{200d}')).not.toBeNull();
});

test('words that tell nothing have no term', () => {
  expect(['the', 'What', 'für', 'über', 'UND'].map((word) => termsOf(word))).toEqual([null, null, null, null, null]);
});

test('names from code are found whole and by their parts; data is not indexed', () => {
  expect(words('maxOutputTokens x-request_id 0.5')).toEqual([
    'maxOutputTokens',
    'max',
    'Output',
    'Tokens',
    'x',
    'request',
    'id',
    '0',
    '5',
  ]);
  expect(words('f'.repeat(65))).toEqual([]);
});
