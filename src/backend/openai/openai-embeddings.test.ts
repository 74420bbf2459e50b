import type { ServerResponse } from 'node:http';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { scriptedBackend, type ScriptedRequest } from '#test/scripted-backend';
import type { EmbeddingBackend } from '../embedding-backend.ts';
import { BackendFailure } from '../port.ts';
import { openOpenAiEmbeddings, type OpenAiEmbeddingsOptions } from './openai-embeddings.ts';
import { readEmbeddings } from './read-embeddings.ts';

const secretKey = 'sk-verysecret123';
const never = new AbortController().signal;

let simulator: ModelSimulator;
beforeAll(async () => {
  simulator = await startModelSimulator();
});
beforeEach(async () => {
  await simulator.clear();
  await simulator.control({ do: 'forget' });
});
afterAll(() => simulator.stop());

function open(url: string, options: Partial<OpenAiEmbeddingsOptions> = {}): EmbeddingBackend & AsyncDisposable {
  const backend = openOpenAiEmbeddings({
    name: 'vectors',
    kind: 'openai-compatible',
    url,
    model: 'simulated',
    apiKey: secretKey,
    batchTexts: 256,
    timeoutMs: 10_000,
    ...options,
  });
  return { ...backend, [Symbol.asyncDispose]: () => backend.close() };
}

async function failureOf(asked: Promise<unknown>): Promise<BackendFailure> {
  const failure = await asked.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(failure instanceof BackendFailure)) throw new Error('expected a BackendFailure', { cause: failure });
  expect(failure.message).not.toContain(secretKey);
  return failure;
}

function likeness(one: Float32Array, other: Float32Array): number {
  return one.reduce((sum, number, at) => sum + number * other[at]!, 0);
}

function sendJson(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

const inputOf = (request: ScriptedRequest): readonly string[] => (request.body as { input: readonly string[] }).input;

describe('against a model server', () => {
  test('texts that share words have vectors near to each other, and the tokens are counted', async () => {
    await using backend = open(simulator.baseUrl);
    const texts = ['the theatre opens at seven', 'when the theatre opens', 'bring an umbrella'];
    const { vectors, inputTokens } = await backend.embed(texts, {}, never);
    const [opens, when, umbrella] = vectors;
    expect(likeness(opens!, when!)).toBeGreaterThan(likeness(opens!, umbrella!) + 0.2);
    expect(inputTokens).toBeGreaterThan(0);
    const alone = await backend.embed([texts[1]!], {}, never);
    expect(alone.vectors[0]).toEqual(when);
  });

  test('many texts go out in batches, and their vectors come back in their order', async () => {
    await using backend = open(simulator.baseUrl);
    const texts = Array.from({ length: 600 }, (_, at) => `seat ${at}`);
    const { vectors, inputTokens } = await backend.embed(texts, { dimensions: 64 }, never);
    const { requests } = await simulator.log();
    const sizes = requests.map(({ body }) => (body as { input: readonly string[] }).input.length);
    expect(sizes).toEqual([256, 256, 88]);
    expect(inputTokens).toBe(requests.reduce((sum, { promptTokens }) => sum + promptTokens, 0));
    const last = await backend.embed([texts[599]!], { dimensions: 64 }, never);
    expect(vectors).toHaveLength(600);
    expect(vectors[599]).toEqual(last.vectors[0]);
    expect(new Set(vectors.map((vector) => vector.length))).toEqual(new Set([64]));
  });

  test('a server that takes fewer texts at once is sent fewer', async () => {
    await using backend = open(simulator.baseUrl, { batchTexts: 2 });
    await backend.embed(['a', 'b', 'c'], {}, never);
    expect((await simulator.log()).totals.requests).toBeGreaterThanOrEqual(2);
    expect((await simulator.log()).requests.map(({ body }) => body)).toMatchObject([
      { input: ['a', 'b'] },
      { input: ['c'] },
    ]);
  });

  test.each(['500', 'status 503', 'reset'])('a server that fails once (%s) is asked once more', async (fault) => {
    await using backend = open(simulator.baseUrl);
    await simulator.plan(`[[sim:${fault}]]`);
    await expect(backend.embed(['row'], {}, never)).resolves.toMatchObject({ vectors: [{ length: 256 }] });
    expect((await simulator.log()).requests).toHaveLength(2);
  });

  test('a server that fails twice is not asked a third time', async () => {
    await using backend = open(simulator.baseUrl);
    await simulator.planAll('[[sim:500]]');
    expect(await failureOf(backend.embed(['row'], {}, never))).toMatchObject({ kind: 'server', status: 500 });
    expect((await simulator.log()).requests).toHaveLength(2);
  });

  test.each([
    ['429 retry-after-ms=7000', { kind: 'limited', limits: { retryAfterMs: 7000 } }],
    ['status 503 retry-after-ms=7000', { kind: 'server', limits: { retryAfterMs: 7000 } }],
    ['401', { kind: 'misconfigured' }],
    ['404', { kind: 'misconfigured' }],
    ['context_length_exceeded', { kind: 'refused', backendCode: 'context_length_exceeded' }],
  ])('what a repeat does not mend (%s) is told at once', async (fault, expected) => {
    await using backend = open(simulator.baseUrl);
    await simulator.planAll(`[[sim:${fault}]]`);
    expect(await failureOf(backend.embed(['row'], {}, never))).toMatchObject(expected);
    expect((await simulator.log()).requests).toHaveLength(1);
  });

  test('who leaves is let go at once, and the server sees it', async () => {
    await using backend = open(simulator.baseUrl);
    await simulator.planAll('[[sim:hang]]');
    const leaving = new AbortController();
    const asked = failureOf(backend.embed(['row'], {}, leaving.signal));
    await simulator.until(({ totals }) => totals.active === 1);
    leaving.abort();
    expect(await asked).toMatchObject({ kind: 'aborted' });
    await simulator.until(({ requests }) => requests.at(-1)?.end === 'aborted');
    expect(await failureOf(backend.embed(['row'], {}, leaving.signal))).toMatchObject({ kind: 'aborted' });
  });

  test('a server that is silent is given up', async () => {
    await using backend = open(simulator.baseUrl, { timeoutMs: 50 });
    await simulator.planAll('[[sim:hang]]');
    expect(await failureOf(backend.embed(['row'], {}, never))).toMatchObject({ kind: 'timeout' });
  });

  test('a server that is not there cannot be reached', async () => {
    const gone = await scriptedBackend(() => undefined);
    await gone[Symbol.asyncDispose]();
    await using backend = open(gone.url);
    expect(await failureOf(backend.embed(['row'], {}, never))).toMatchObject({ kind: 'connect' });
  });
});

describe('what is asked', () => {
  const vectorOf = (request: ScriptedRequest): object => ({
    data: inputOf(request).map(() => ({ embedding: [0.25, -1] })),
  });

  test('OpenAI: the model, the texts and the key, with vectors as base64', async () => {
    await using server = await scriptedBackend((request, response) => sendJson(response, vectorOf(request)));
    await using backend = open(server.url, { kind: 'openai' });
    // Neither `index` nor `usage`, and numbers written out: some servers answer so.
    expect(await backend.embed(['row', 'seat'], { dimensions: 2 }, never)).toEqual({
      vectors: [Float32Array.of(0.25, -1), Float32Array.of(0.25, -1)],
      inputTokens: 0,
    });
    expect(server.requests).toMatchObject([
      {
        method: 'POST',
        path: '/v1/embeddings',
        headers: { authorization: `Bearer ${secretKey}`, 'content-type': 'application/json' },
        body: { model: 'simulated', input: ['row', 'seat'], encoding_format: 'base64', dimensions: 2 },
      },
    ]);
  });

  test('Azure: the deployment and the version in the address, the key in a header of its own', async () => {
    await using server = await scriptedBackend((request, response) => sendJson(response, vectorOf(request)));
    const azure = {
      kind: 'azure-openai',
      model: undefined,
      deployment: 'small one',
      apiVersion: '2024-10-21',
    } as const;
    await using backend = open(server.url.replace('/v1', ''), azure);
    await backend.embed(['row'], {}, never);
    expect(server.requests).toMatchObject([
      {
        path: '/openai/deployments/small%20one/embeddings?api-version=2024-10-21',
        headers: { 'api-key': secretKey },
        body: { input: ['row'] },
      },
    ]);
    expect(server.requests[0]?.body).not.toHaveProperty('model');
    await using later = open(server.url.replace('/v1', '/openai/v1'), { ...azure, apiVersion: undefined });
    await later.embed(['row'], {}, never);
    expect(server.requests[1]).toMatchObject({ path: '/openai/v1/embeddings', body: { model: 'small one' } });
  });
});

describe('what is no whole answer is refused', () => {
  const floats = (...numbers: number[]): object => ({ embedding: numbers });
  const broken: Readonly<Record<string, unknown>> = {
    'no object': 7,
    'no list': {},
    'too few vectors': { data: [floats(1, 2)] },
    'too many vectors': { data: [floats(1), floats(1), floats(1)] },
    'one number for two': {
      data: [
        { index: 1, embedding: [1] },
        { index: 1, embedding: [1] },
      ],
    },
    'a number beyond': {
      data: [
        { index: 0, embedding: [1] },
        { index: 2, embedding: [1] },
      ],
    },
    'an empty vector': { data: [floats(), floats()] },
    'vectors of several lengths': { data: [floats(1, 2), floats(1)] },
    'a vector with nothing in it': { data: [{ embedding: [null, 1] }, floats(1, 2)] },
    'a number too large for a float': { data: [floats(1e300), floats(1)] },
    'no vector at all': { data: [{}, {}] },
    'not base64': { data: [{ embedding: 'AACAPw==!' }, { embedding: 'AACAPw==' }] },
    'half a float': { data: [{ embedding: 'AACA' }, { embedding: 'AACAPw==' }] },
    'a float that is no number': { data: [{ embedding: 'AADAfw==' }, { embedding: 'AACAPw==' }] },
  };

  test.each(Object.entries(broken))('%s', async (_name, body) => {
    await using server = await scriptedBackend((_request, response) => sendJson(response, body));
    await using backend = open(server.url);
    expect(await failureOf(backend.embed(['row', 'seat'], {}, never))).toMatchObject({ kind: 'garbage' });
    expect(server.requests).toHaveLength(1);
  });

  test('vectors that are longer in one batch than in another', async () => {
    await using server = await scriptedBackend((request, response, nth) =>
      sendJson(response, { data: inputOf(request).map(() => floats(...Array.from({ length: nth + 1 }, () => 1))) }),
    );
    await using backend = open(server.url, { batchTexts: 1 });
    expect(await failureOf(backend.embed(['row', 'seat'], {}, never))).toMatchObject({ kind: 'garbage' });
  });

  test('vectors of another length than was asked for are the request’s fault', async () => {
    await using server = await scriptedBackend((_request, response) => sendJson(response, { data: [floats(1, 2, 3)] }));
    await using backend = open(server.url);
    expect(await failureOf(backend.embed(['row'], { dimensions: 2 }, never))).toMatchObject({
      kind: 'refused',
      backendCode: 'dimensions_refused',
    });
  });

  test('a web page, a body that breaks off, and an error told with status 200', async () => {
    await using server = await scriptedBackend((request, response) => {
      const [text] = inputOf(request);
      if (text === 'page') response.writeHead(200, { 'content-type': 'text/html' }).end('<html></html>');
      else if (text === 'error') sendJson(response, { error: { code: 'out_of_memory', message: text } });
      else {
        response.writeHead(200, { 'content-length': '1000' });
        response.write('{"data":[');
        setImmediate(() => response.destroy());
      }
    });
    await using backend = open(server.url);
    expect(await failureOf(backend.embed(['page'], {}, never))).toMatchObject({ kind: 'garbage' });
    expect(await failureOf(backend.embed(['broken'], {}, never))).toMatchObject({ kind: 'cut' });
    expect(await failureOf(backend.embed(['error'], {}, never))).toMatchObject({
      kind: 'server',
      backendCode: 'out_of_memory',
    });
  });

  test('a key that the server quotes in its error is told to nobody', async () => {
    const key = 'verysecretkey';
    await using server = await scriptedBackend((_request, response) =>
      sendJson(response, { error: { code: `${key}_is_wrong` } }, 400),
    );
    await using backend = open(server.url, { apiKey: key });
    const failure = await failureOf(backend.embed(['row'], {}, never));
    expect(JSON.stringify([failure.message, failure.backendCode])).not.toContain(key);
  });
});

test('vectors are read the same from base64 and from numbers, whatever their order in the answer', () => {
  const place = { backend: 'vectors', origin: 'http://127.0.0.1' };
  const sizes = fc.record({ count: fc.integer({ min: 1, max: 5 }), dimensions: fc.integer({ min: 1, max: 9 }) });
  const floats = fc.float({ noNaN: true, noDefaultInfinity: true });
  const answers = sizes.chain(({ count, dimensions }) =>
    fc.record({
      rows: fc.array(fc.array(floats, { minLength: dimensions, maxLength: dimensions }), {
        minLength: count,
        maxLength: count,
      }),
      seed: fc.array(fc.tuple(fc.nat(), fc.boolean()), { minLength: count, maxLength: count }),
    }),
  );
  fc.assert(
    fc.property(answers, ({ rows, seed }) => {
      const data = rows
        .map((row, index) => {
          const bytes = Buffer.alloc(row.length * 4);
          for (const [at, number] of row.entries()) bytes.writeFloatLE(number, at * 4);
          return { index, embedding: seed[index]![1] ? bytes.toString('base64') : row };
        })
        .toSorted((one, other) => seed[one.index]![0] - seed[other.index]![0]);
      const dimensions = rows[0]!.length;
      const read = readEmbeddings(place, { data, usage: { prompt_tokens: 3 } }, { count: rows.length, dimensions });
      expect(read).toEqual({ vectors: rows.map((row) => Float32Array.from(row)), inputTokens: 3 });
    }),
  );
});
