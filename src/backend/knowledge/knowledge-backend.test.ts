import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Passage } from '#release';
import type { AttemptTimeouts, ModelEvent, ModelRequest } from '../port.ts';
import { openKnowledgeBackend, type KnowledgeBackendOptions } from './knowledge-backend.ts';

const timeouts: AttemptTimeouts = { connectMs: 1, firstTokenMs: 1, betweenTokensMs: 1, wholeMs: 1 };

const keys: Passage = {
  source: 'access.md#api-keys',
  title: 'API keys',
  text: [
    'An application shows its API key with each request.',
    'To revoke a key, run `usher keys revoke` with its prefix. It stops working at once on every node.',
    'A revoked key cannot be restored: create another one.',
    'Unrelated closing words about the weather of the season. '.repeat(12),
  ].join('\n\n'),
};
const install: Passage = {
  source: 'install.md#from-npm',
  title: 'Installing from npm',
  text: 'Run this:\n\n```sh\nnpm ci\n\nnpm start\n```\n\nThen open the address that the terminal prints.',
};
const storage: Passage = {
  source: 'storage.md',
  title: 'Storage',
  text: 'Everything is stored in SQLite or in PostgreSQL, always encrypted.',
};

async function ask(
  question: string,
  passages: readonly Passage[],
  more: Partial<ModelRequest & KnowledgeBackendOptions> = {},
) {
  const backend = openKnowledgeBackend({ name: 'knowledge', occasion: more.occasion ?? 'alone' });
  const events: ModelEvent[] = [];
  const request: ModelRequest = { messages: [], parameters: {}, ...more, question, passages };
  const { signal } = new AbortController();
  const end = await backend.answer(request, { event: (event) => void events.push(event) }, timeouts, signal);
  const text = events.map((event) => (event.type === 'text' ? event.text : '')).join('');
  const cited = events.filter((event) => event.type === 'cited');
  return { events, end, text, cited };
}

describe('a question that the documents answer', () => {
  test('is answered with the fitting part of the passage, quoted, with its source', async () => {
    const { text, cited, end } = await ask('How do I revoke an API key?', [storage, keys, install]);
    expect(text).toContain('> To revoke a key, run `usher keys revoke` with its prefix.');
    expect(text).toContain('— API keys, `access.md#api-keys`');
    expect(text).not.toContain('weather');
    expect(text).not.toContain('SQLite');
    expect(text).toContain('No language model is configured');
    expect(text).toContain('OPENAI_API_KEY');
    expect(cited).toMatchObject([{ source: 'access.md#api-keys', title: 'API keys' }]);
    expect(end).toMatchObject({ finish: 'stop', usage: { inputTokens: 0, outputTokens: 0, estimated: false } });
  });

  test('finds the words in another form', async () => {
    const { text } = await ask('Was passiert bei revoked keys?', [keys]);
    expect(text).toContain('access.md#api-keys');
  });

  test('quotes code whole, each line of it', async () => {
    const { text } = await ask('installing with npm', [install]);
    expect(text).toContain('> Run this:\n>\n> ```sh\n> npm ci\n>\n> npm start\n> ```');
  });

  test('quotes of a long table what fits, whatever its head is', async () => {
    const head = `| ${'Revoke a key '.repeat(70)}|\n| --- |`;
    for (const table of [
      head,
      `${head}\n| revoke a key |`,
      `| a |\n| --- |\n${'| no |\n'.repeat(200)}| revoke a key |`,
    ]) {
      const { text } = await ask('revoke a key', [{ source: 'table.md', title: 'Table', text: table }]);
      expect(text).toMatch(/^This passage speaks of it:\n\n> /);
      expect(text.length).toBeLessThan(1200);
      if (table.startsWith('| a |')) expect(text).toContain('> | revoke a key |');
    }
  });

  test('is told in pieces, each citation after what it cites, with offsets of the quotation', async () => {
    const { events, text, cited } = await ask('Which keys and which storage are there?', [keys, storage]);
    let length = 0;
    for (const event of events) {
      if (event.type === 'text') length += event.text.length;
      if (event.type === 'cited') expect(event.end).toBeLessThanOrEqual(length);
    }
    expect(cited.length).toBe(2);
    for (const cite of cited) expect(text.slice(cite.start, cite.end)).toMatch(/^> [^—]*$/);
    expect(events.length).toBeGreaterThan(4);
  });

  test('says that models are down where it stands in for them', async () => {
    const { text } = await ask('revoke a key', [keys], { occasion: 'stand-in' });
    expect(text).toContain('No language model can be reached just now');
  });
});

describe('a question that they do not answer', () => {
  test('is told so, with what the documents are about', async () => {
    const { text, cited } = await ask('Who painted the Sistine Chapel?', [keys, storage]);
    expect(text).toContain('nothing in my documents speaks of that');
    expect(text).toContain('- API keys\n- Storage');
    expect(cited).toEqual([]);
  });

  test('names the topics it was given, no more than fit', async () => {
    const topics = Array.from({ length: 12 }, (_, nth) => `Topic ${nth}`);
    const { text } = await ask('Who painted the Sistine Chapel?', [], { topics });
    expect(text).toContain('- Topic 7\n- and 4 more');
  });

  test('gets the nearest passage as just that', async () => {
    const { text } = await ask('Which telescope watches the weather of distant planets tonight?', [keys]);
    expect(text).toContain('Nothing in my documents answers that squarely');
    expect(text).toContain('weather');
  });
});

describe('small talk', () => {
  test.each(['hello', 'Hi there!', 'Guten Tag', 'bonjour', '你好'])(
    '"%s" is greeted, and told what to ask',
    async (words) => {
      const { text } = await ask(words, [], { topics: ['API keys', 'Storage'] });
      expect(text).toMatch(/^Hello!/);
      expect(text).toContain('- API keys\n- Storage');
    },
  );

  test('thanks are taken kindly', async () => {
    expect((await ask('Thank you!', [keys])).text).toMatch(/welcome/);
  });

  test('a greeting before a question does not hide the question', async () => {
    expect((await ask('Hello, how do I revoke a key?', [keys])).text).toContain('> To revoke a key');
  });
});

describe('whatever it is given', () => {
  test('it answers within its bounds, with citations that fit', async () => {
    const passages = fc.array(
      fc.record({
        source: fc.string(),
        title: fc.string(),
        text: fc.oneof(
          fc.string({ unit: 'grapheme' }),
          fc.constantFrom(
            '```\n' + 'key '.repeat(900),
            '- key\n'.repeat(900),
            'A key. '.repeat(900),
            'key'.repeat(3_000),
          ),
        ),
      }),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.constant('key')), passages, async (question, found) => {
        const { text, cited } = await ask(question, found);
        expect(text.length).toBeGreaterThan(0);
        expect(text.length).toBeLessThan(6_000);
        for (const { start, end } of cited) {
          expect(text.slice(start, end)).toMatch(/^>/);
          expect(
            text
              .slice(start, end)
              .split('\n')
              .every((line) => line.startsWith('>')),
          ).toBe(true);
          expect((text.slice(start, end).match(/^> ```/gm) ?? []).length % 2).toBe(0);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('it refuses to pretend that it can write JSON, call tools or summarise', async () => {
    await expect(ask('revoke', [keys], { byModel: true })).rejects.toMatchObject({ kind: 'refused' });
    await expect(ask('revoke', [keys], { format: { type: 'json' } })).rejects.toMatchObject({ kind: 'refused' });
    await expect(ask('revoke', [keys], { toolChoice: 'required' })).rejects.toMatchObject({ kind: 'refused' });
  });

  test('it stops where it is cancelled', async () => {
    const controller = new AbortController();
    const backend = openKnowledgeBackend({ name: 'knowledge' });
    const request: ModelRequest = { messages: [], parameters: {}, passages: [keys], question: 'revoke key' };
    const sink = { event: () => controller.abort() };
    await expect(backend.answer(request, sink, timeouts, controller.signal)).rejects.toMatchObject({ kind: 'aborted' });
  });
});
