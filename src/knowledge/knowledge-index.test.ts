import { expect, test } from 'vitest';
import { openKnowledgeIndex } from './knowledge-index.ts';

async function indexOf(texts: Readonly<Record<string, string>>) {
  return openKnowledgeIndex(Object.entries(texts).map(([title, text]) => ({ source: `${title}.md`, title, text })));
}

const tickets = {
  Prices: 'A day ticket costs nine euros. Children pay half.',
  Refunds: 'A refund is paid within two weeks when the train was cancelled.',
  Überblick: 'Alle Strecken und Anschlüsse auf einen Blick, auch für Gepäck und Fußgänger.',
  Configuration: 'Set budgetTokens and OPENAI_API_KEY before the first start; the cache is shared.',
  东京: '地铁的车票在自动售票机出售。',
};

test.each([
  ['how much does a day ticket cost?', 'Prices'],
  ['What do children pay', 'Prices'],
  ['my train got canceled, do I get refunds?', 'Refunds'],
  ['refnud', 'Refunds'],
  ['uberblick', 'Überblick'],
  ['UEBERBLICK', 'Überblick'],
  ['gepaeck', 'Überblick'],
  ['fussganger', 'Überblick'],
  ['Welche Anschlusse gibt es?', 'Überblick'],
  ['budget tokens', 'Configuration'],
  ['openai api key', 'Configuration'],
  ['is caching shared', 'Configuration'],
  ['caches', 'Configuration'],
  ['车票在哪里买？', '东京'],
])('%s finds %s', async (question, title) => {
  const index = await indexOf(tickets);
  expect(index.search(question, 3)[0]?.title).toBe(title);
});

test.each(['', '   ', '?!', 'what is the', 'wie ist das', 'zebra quantum', 'a'.repeat(100_000)])(
  'a question that nothing fits finds nothing: %j',
  async (question) => {
    const index = await indexOf(tickets);
    expect(index.search(question.slice(0, 100_000), 3)).toEqual([]);
  },
);

test('at most as many passages as asked for come, the best first', async () => {
  const index = await indexOf(
    Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`t${at}`, 'ticket '.repeat(at + 1)])),
  );
  const found = index.search('ticket', 5);
  expect(found).toHaveLength(5);
  expect(found.map(({ score }) => score)).toEqual(found.map(({ score }) => score).toSorted((a, b) => b - a));
  expect(index.search('ticket', 0)).toEqual([]);
});

test('no knowledge finds nothing', async () => {
  expect((await openKnowledgeIndex([])).search('anything', 5)).toEqual([]);
});

test('words that are also names of object properties are words', async () => {
  const index = await indexOf({ constructor: '__proto__ toString hasOwnProperty' });
  expect(index.search('constructor', 1)).toHaveLength(1);
  expect(index.search('toString', 1)).toHaveLength(1);
  expect(index.search('valueOf', 1)).toEqual([]);
});
