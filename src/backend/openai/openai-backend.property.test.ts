import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { chunkEvent, doneEvent, scriptedBackend, streamHead, usageEvent } from '#test/scripted-backend';
import { BackendFailure, type Backend, type ModelEvent } from '../port.ts';
import { openOpenAiBackend } from './openai-backend.ts';

const timeouts = { connectMs: 5_000, firstTokenMs: 5_000, betweenTokensMs: 5_000, wholeMs: 20_000 };

interface Slices {
  readonly bytes: Buffer;
  /** Offsets at which the bytes are cut into separate writes. */
  readonly cuts: readonly number[];
}

async function tell(backend: Backend, slices: Slices, script: { current: Slices }) {
  script.current = slices;
  const events: ModelEvent[] = [];
  const request = { messages: [], parameters: {}, passages: [], question: '' };
  const sink = { event: (event: ModelEvent) => void events.push(event) };
  try {
    return { events, end: await backend.answer(request, sink, timeouts, new AbortController().signal) };
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    return { events, failure: error.kind };
  }
}

/** A backend whose server writes the slices one by one, each in its own packet. */
async function slicingBackend(script: { current: Slices }) {
  const server = await scriptedBackend(async (request, response) => {
    request.socket.setNoDelay(true);
    streamHead(response);
    let start = 0;
    for (const cut of [...script.current.cuts, script.current.bytes.length]) {
      if (cut > start) response.write(script.current.bytes.subarray(start, cut));
      start = Math.max(cut, start);
      await new Promise<void>((resolve) => void setImmediate(resolve));
    }
    response.end();
  });
  const backend = openOpenAiBackend({ name: 'main', kind: 'openai-compatible', url: server.url, model: 'm' });
  return {
    backend,
    [Symbol.asyncDispose]: async () => {
      await backend.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

const texts = fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 8 });
const lineEnds = fc.constantFrom('\n', '\r\n', '\r');
const places = fc.array(fc.nat(), { maxLength: 40 });

test('bytes split anywhere, even inside a character or a line end, tell the same answer', async () => {
  const script: { current: Slices } = { current: { bytes: Buffer.alloc(0), cuts: [] } };
  await using sliced = await slicingBackend(script);
  await fc.assert(
    fc.asyncProperty(texts, lineEnds, places, async (pieces, lineEnd, spots) => {
      const wire =
        ': hello\n\n' +
        pieces.map((text) => chunkEvent({ content: text })).join('') +
        chunkEvent({}, 'stop') +
        usageEvent({ prompt_tokens: 3, completion_tokens: pieces.length }) +
        doneEvent;
      const bytes = Buffer.from(wire.replaceAll('\n', lineEnd));
      const cuts = spots.map((spot) => spot % (bytes.length + 1)).sort((a, b) => a - b);
      const told = await tell(sliced.backend, { bytes, cuts }, script);
      expect(told.events).toEqual(pieces.map((text) => ({ type: 'text', text })));
      expect(told.end).toMatchObject({ finish: 'stop', usage: { inputTokens: 3, outputTokens: pieces.length } });
    }),
    { numRuns: 60 },
  );
});

test('every single split of one answer tells the same', async () => {
  const script: { current: Slices } = { current: { bytes: Buffer.alloc(0), cuts: [] } };
  await using sliced = await slicingBackend(script);
  const bytes = Buffer.from(chunkEvent({ content: 'Grüße 👩‍🚒' }) + chunkEvent({}, 'stop') + doneEvent);
  for (let cut = 1; cut < bytes.length; cut++) {
    const told = await tell(sliced.backend, { bytes, cuts: [cut] }, script);
    expect(told).toMatchObject({ events: [{ type: 'text', text: 'Grüße 👩‍🚒' }], end: { finish: 'stop' } });
  }
});

test('an answer that stops anywhere before its finish is never a success', async () => {
  const script: { current: Slices } = { current: { bytes: Buffer.alloc(0), cuts: [] } };
  await using sliced = await slicingBackend(script);
  const before = Buffer.from(chunkEvent({ content: 'one' }) + chunkEvent({ content: 'two' }));
  const whole = Buffer.concat([before, Buffer.from(chunkEvent({}, 'stop') + doneEvent)]);
  // The last two bytes of the finishing event are its end: before them it does not count.
  const endOfFinish = whole.length - Buffer.byteLength(doneEvent) - 2;
  for (let length = 0; length <= endOfFinish; length += 3) {
    const told = await tell(sliced.backend, { bytes: whole.subarray(0, length), cuts: [] }, script);
    expect(told.failure).toBe('cut');
  }
});

test('no bytes whatever break more than the one answer', async () => {
  const script: { current: Slices } = { current: { bytes: Buffer.alloc(0), cuts: [] } };
  await using sliced = await slicingBackend(script);
  const oddJson = fc.json({ maxDepth: 4 }).map((json) => `data: ${json}\n\n`);
  const oddChunk = fc
    .record({ index: fc.jsonValue(), delta: fc.jsonValue(), finish_reason: fc.jsonValue() }, { requiredKeys: [] })
    .map((choice) => `data: ${JSON.stringify({ choices: [choice] })}\n\n`);
  const pieces = fc.oneof(
    oddJson,
    oddChunk,
    fc.string(),
    fc.constant(doneEvent),
    fc.constant(chunkEvent({ content: 'x' })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(pieces, { maxLength: 6 }), async (parts) => {
      const told = await tell(sliced.backend, { bytes: Buffer.from(parts.join('')), cuts: [] }, script);
      if (told.failure !== undefined) expect(['cut', 'garbage', 'server']).toContain(told.failure);
      for (const event of told.events) expect(['text', 'refusal', 'call']).toContain(event.type);
    }),
    { numRuns: 150 },
  );
});
