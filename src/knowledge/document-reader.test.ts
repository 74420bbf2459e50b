import { afterAll, expect, test } from 'vitest';
import type { Passage } from '#release';
import { passageCharactersMax } from './pack-blocks.ts';
import { makePdf } from './pdf.fixture.ts';
import { DocumentReader } from './document-reader.ts';

const documents = new DocumentReader();
afterAll(() => documents[Symbol.asyncDispose]());

async function read(path: string, content: string | Uint8Array) {
  return documents.read([{ path: `knowledge/${path}`, bytes: Buffer.from(content) }]);
}

async function passagesOf(path: string, content: string | Uint8Array): Promise<readonly Passage[]> {
  const { passages, problems } = await read(path, content);
  expect(problems).toEqual([]);
  return passages;
}

async function problemOf(path: string, content: string | Uint8Array): Promise<string | undefined> {
  const { problems } = await read(path, content);
  return problems[0]?.message;
}

test('markdown is read by its headings, with the way down to each as title and its anchor as source', async () => {
  const document = `---
title: Tickets
owner: sales
---

Before all.

# Prices <!-- fold -->

Intro.

## Day & night: \`base\` price!

Nine euros.

### Children

Half of it.

## Day & night: \`base\` price!

Twice.
`;
  expect(await passagesOf('a/prices.md', document)).toEqual([
    { source: 'a/prices.md', title: 'Tickets', text: 'Before all.' },
    { source: 'a/prices.md#prices', title: 'Tickets › Prices', text: 'Intro.' },
    {
      source: 'a/prices.md#day--night-base-price',
      title: 'Tickets › Prices › Day & night: base price!',
      text: 'Nine euros.',
    },
    {
      source: 'a/prices.md#children',
      title: 'Tickets › Prices › Day & night: base price! › Children',
      text: 'Half of it.',
    },
    {
      source: 'a/prices.md#day--night-base-price-1',
      title: 'Tickets › Prices › Day & night: base price!',
      text: 'Twice.',
    },
  ]);
});

test('a heading within a code block is code, not a heading', async () => {
  const passages = await passagesOf('a.md', '# Run\n\n```sh\n# not a heading\nnpm start\n```\n');
  expect(passages).toEqual([{ source: 'a.md', title: 'Run', text: '```sh\n# not a heading\nnpm start\n```' }]);
});

test('a long table is split with its head repeated, long code with its fence', async () => {
  const rows = Array.from({ length: 60 }, (_, at) => `| key${at} | what number ${at} is good for |`).join('\n');
  const code = Array.from({ length: 80 }, (_, at) => `const line${at} = ${at} * 1000;`).join('\n');
  const passages = await passagesOf('a.md', `| key | meaning |\n| --- | --- |\n${rows}\n\n\`\`\`ts\n${code}\n\`\`\`\n`);
  expect(passages.length).toBeGreaterThan(3);
  for (const { text } of passages) {
    expect(text.length).toBeLessThanOrEqual(passageCharactersMax);
    expect(text).toMatch(/^(?:\| key \| meaning \|\n\| --- \| --- \|\n\| key\d|```ts\nconst line)/u);
    if (text.startsWith('```')) expect(text.endsWith('\n```')).toBe(true);
  }
  expect(passages.map(({ text }) => text).join('\n')).toContain('| key59 |');
});

test('no passage is longer than a prompt can take, whatever the text; nothing of it is lost', async () => {
  const text = `${'wort '.repeat(900)}\n\n${'😀'.repeat(3000)}\n\n${'Ein Satz. '.repeat(400)}`;
  const passages = await passagesOf('a.txt', text);
  expect(passages.every((passage) => passage.text.length <= passageCharactersMax)).toBe(true);
  expect(passages.every((passage) => passage.text.isWellFormed())).toBe(true);
  const letters = (joined: string): string => joined.replaceAll(/\s+/gu, '');
  expect(letters(passages.map((passage) => passage.text).join(''))).toBe(letters(text));
});

test('text is read by paragraphs under the name of its file', async () => {
  expect(await passagesOf('opening_hours-2026.txt', 'One.\r\n\r\nTwo.\u{0}\u{200b}')).toEqual([
    { source: 'opening_hours-2026.txt', title: 'opening hours 2026', text: 'One.\n\nTwo.' },
  ]);
});

test('HTML is read by its headings, without scripts, styles and navigation', async () => {
  const page = `<!doctype html><html><head><title>Tickets &amp; more</title><style>p{}</style></head><body>
    <nav><a href="/">Home</a></nav>
    <h1>Prices</h1><p>Nine <b>euros</b>, <a href="/x">here</a>.</p>
    <h2 id="kids">Children</h2><ul><li>under six: free</li></ul>
    <table><tr><th>Zone</th><th>Fee</th></tr><tr><td>A</td><td>1</td></tr></table>
    <script>alert('never')</script></body></html>`;
  const passages = await passagesOf('p.html', page);
  expect(passages.map(({ source, title }) => [source, title])).toEqual([
    ['p.html', 'Tickets & more › Prices'],
    ['p.html#kids', 'Tickets & more › Prices › Children'],
  ]);
  const all = passages.map(({ text }) => text).join('\n');
  expect(all).toContain('Nine euros, here.');
  expect(all).toMatch(/Zone\s+Fee/u);
  expect(all).not.toMatch(/never|Home|p\{\}/u);
});

test('a PDF is read by its pages', async () => {
  expect(await passagesOf('guide.pdf', makePdf(['Nine euros a day.', 'Half for children.'], 'Ticket guide'))).toEqual([
    { source: 'guide.pdf#page=1', title: 'Ticket guide › page 1', text: 'Nine euros a day.' },
    { source: 'guide.pdf#page=2', title: 'Ticket guide › page 2', text: 'Half for children.' },
  ]);
  expect((await passagesOf('fare-table.pdf', makePdf(['x'])))[0]?.title).toBe('fare table › page 1');
});

test.each([
  ['a.pdf', 'not a PDF', 'not a PDF that can be read'],
  ['a.pdf', makePdf(['text']).subarray(0, 200), 'not a PDF that can be read'],
  ['a.pdf', makePdf(['']), 'holds no text; if it is a scan'],
  ['a.docx', 'x', 'only markdown, text, HTML and PDF'],
  ['noextension', 'x', 'only markdown, text, HTML and PDF'],
])('%s that cannot be read is a problem with the mend', async (path, content, told) => {
  expect(await problemOf(path, content)).toContain(told);
});

test('one bad document does not hide the others', async () => {
  const files = ['a.md', 'b.pdf', 'c.md'].map((name) => ({ path: `knowledge/${name}`, bytes: Buffer.from('x') }));
  const { passages, problems } = await documents.read(files);
  expect(passages.map(({ source }) => source)).toEqual(['a.md', 'c.md']);
  expect(problems.map(({ file }) => file)).toEqual(['knowledge/b.pdf']);
});

test('pictures are passed over, and what lies outside knowledge/ is not read', async () => {
  expect(await read('logo.png', 'x')).toEqual({ passages: [], problems: [] });
  expect(await documents.read([{ path: 'instructions.md', bytes: Buffer.from('secret') }])).toEqual({
    passages: [],
    problems: [],
  });
});

test('deep nesting in markdown and HTML ends in passages or a problem, never in a crash', async () => {
  for (const [path, content] of [
    ['a.md', `${'> '.repeat(5000)}deep`],
    ['b.md', `${'['.repeat(20_000)}deep`],
    ['c.html', `${'<div>'.repeat(50_000)}deep`],
    ['d.html', '<'.repeat(100_000)],
    ['e.md', '*a '.repeat(20_000)],
  ] as const) {
    const { passages, problems } = await read(path, content);
    expect(passages.length + problems.length).toBeGreaterThan(0);
  }
});

test('an unchanged document is not parsed again, under another name it is, and progress counts those that are new', async () => {
  await using reader = new DocumentReader();
  const file = (name: string, text: string) => ({ path: `knowledge/${name}`, bytes: Buffer.from(text) });
  const progress: string[] = [];
  const tell = (done: number, total: number): void => void progress.push(`${done}/${total}`);
  const first = await reader.read([file('a.md', 'one'), file('b.md', 'two'), file('c.pdf', 'broken')], tell);
  expect(progress.splice(0)).toEqual(['1/3', '2/3', '3/3']);
  expect(await reader.read([file('a.md', 'one'), file('b.md', 'two'), file('c.pdf', 'broken')], tell)).toEqual(first);
  expect(progress).toEqual([]);
  const { passages } = await reader.read([file('d.md', 'one'), file('b.md', 'three')], tell);
  expect(progress).toEqual(['1/2', '2/2']);
  expect(passages.map(({ source, text }) => `${source} ${text}`)).toEqual(['d.md one', 'b.md three']);
});

test('while a long document is parsed the event loop goes on', async () => {
  await using reader = new DocumentReader();
  const long = Array.from({ length: 6000 }, (_, at) => `## Part ${at}\n\n${'Seats *and* rows. '.repeat(20)}\n`).join(
    '\n',
  );
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1);
  const { passages } = await reader.read([{ path: 'knowledge/long.md', bytes: Buffer.from(long) }]);
  clearInterval(timer);
  expect(passages.length).toBeGreaterThan(5000);
  expect(turns).toBeGreaterThan(5);
});
