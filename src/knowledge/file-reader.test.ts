import { afterAll, describe, expect, test } from 'vitest';
import { FileReader } from './file-reader.ts';
import { makeBomb, makePdf } from './pdf.fixture.ts';

const reader = new FileReader();
afterAll(() => reader.close());

const signal = new AbortController().signal;
const north = { tenant: 'north', signal };

const read = (name: string, bytes: string | Uint8Array, mediaType?: string) =>
  reader.read({ name, mediaType, bytes: typeof bytes === 'string' ? Buffer.from(bytes) : bytes }, north);

describe('a file that is sent', () => {
  test('is read whole: text of any name, HTML without its markup, PDF by what it begins with', async () => {
    expect(await read('a.csv', '\u{feff}row,seat\n7,1\n')).toEqual({ result: 'read', text: 'row,seat\n7,1' });
    const html = '<h1>Seats</h1><script>no()</script><p>Row <b>seven</b></p>';
    const found = await read('a.html', html);
    expect(found).toMatchObject({ result: 'read', text: expect.stringContaining('Row seven') });
    expect(JSON.stringify(found)).not.toMatch(/no\(\)|<b>/);
    expect(await read('page', html, 'text/html')).toEqual(found);
    const pages = await read('plan.bin', makePdf(['Row seven is free', 'Row eight is not']));
    expect(pages).toEqual({ result: 'read', text: 'Row seven is free\n\nRow eight is not' });
  });

  test('is refused with the mend where it is no text, or damaged', async () => {
    expect(await read('a.docx', Buffer.from([0x50, 0x4b, 3, 4, 0, 0xff]))).toEqual({
      result: 'refused',
      mend: 'only text, HTML and PDF files are read; save it as one of them.',
    });
    expect(await read('a.txt', 'a\0b')).toMatchObject({ result: 'refused' });
    expect(await read('a.pdf', '%PDF-1.7\nnothing')).toMatchObject({ result: 'refused' });
    expect(await read('a.txt', 'x'.repeat(4_000_001))).toMatchObject({ mend: expect.stringContaining('a part of it') });
  });

  test('that takes too long ends its thread, and the next is read by another', async () => {
    const hasty = new FileReader(0);
    const slow = { name: 'a.html', mediaType: undefined, bytes: Buffer.from('<p>x</p>') };
    expect(await hasty.read(slow, north)).toMatchObject({
      result: 'refused',
      mend: expect.stringContaining('too long'),
    });
    await hasty.close();
    expect(await Promise.all([reader.read(slow, north), reader.read(slow, north)])).toMatchObject([
      { text: 'x' },
      { text: 'x' },
    ]);
  });

  test('that unpacks to more than may be held ends its thread before it does', async () => {
    const before = process.memoryUsage.rss();
    let peak = before;
    const watching = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage.rss());
    }, 10);
    expect(await read('a.pdf', makeBomb())).toMatchObject({ mend: expect.stringContaining('too much memory') });
    clearInterval(watching);
    expect(peak - before).toBeLessThan(900_000_000);
    expect(await read('plan.pdf', makePdf(['Row seven']))).toEqual({ result: 'read', text: 'Row seven' });
  });

  test('waits its turn, no longer than its sender, and is turned away where too many of its tenant do', async () => {
    const busy = new FileReader();
    const file = { name: 'a.html', mediaType: undefined, bytes: Buffer.from('<p>x</p>') };
    const order: string[] = [];
    const readFor = async (tenant: string, asked = signal) => {
      const text = await busy.read(file, { tenant, signal: asked });
      order.push(tenant);
      return text;
    };
    const first = readFor('north');
    const leaving = new AbortController();
    const left = readFor('north', leaving.signal);
    const waiting = [first, ...Array.from({ length: 63 }, () => readFor('north'))];
    await expect(readFor('north')).rejects.toThrow('Too many files wait');
    waiting.push(readFor('south'));
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: 'client_gone' });
    for (const each of await Promise.all(waiting)) expect(each).toEqual({ result: 'read', text: 'x' });
    // Another tenant's comes in between.
    expect(order.indexOf('south')).toBeLessThan(3);
    await busy.close();
  });
});
