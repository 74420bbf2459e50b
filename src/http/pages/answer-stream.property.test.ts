import * as fc from 'fast-check';
import { expect, test } from 'vitest';

/** The page's own module, as browsers load it. */
const page = (await import(new URL('assets/answer-stream.js', import.meta.url).href)) as {
  readonly readEvents: (body: ReadableStream<Uint8Array<ArrayBuffer>>) => AsyncGenerator;
};

const texts = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('naïve – 座席 🎭', 'data: {', '\n\n', '\r'));

function bodyOf(bytes: Uint8Array, cuts: readonly number[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      let start = 0;
      for (const cut of [...cuts.toSorted((one, other) => one - other), bytes.length]) {
        const end = Math.min(cut, bytes.length);
        if (end > start) controller.enqueue(new Uint8Array(bytes.subarray(start, end)));
        start = Math.max(start, end);
      }
      controller.close();
    },
  });
}

test('the page reads the same events wherever the bytes of a stream are split', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(texts, { maxLength: 8 }),
      fc.array(fc.nat({ max: 2000 }), { maxLength: 30 }),
      fc.boolean(),
      async (deltas, cuts, crlf) => {
        const events = deltas.map((delta, index) => ({
          type: 'response.output_text.delta',
          sequence_number: index,
          delta,
        }));
        const blocks = events.map(
          (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n: keep-alive\n\n`,
        );
        const text = `${blocks.join('')}data: [DONE]\n\n`;
        const bytes = new TextEncoder().encode(crlf ? text.replaceAll('\n', '\r\n') : text);
        const read = [];
        for await (const event of page.readEvents(bodyOf(bytes, cuts))) read.push(event);
        expect(read).toEqual(events);
      },
    ),
  );
});
