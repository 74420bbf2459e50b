import { Agent, request as openRequest } from 'node:http';
import * as fc from 'fast-check';
import type { Route } from '#http';

export interface FuzzOptions {
  readonly url: string;
  readonly routes: readonly Route[];
  /** Headers of each caller to try, beside nobody and nonsense. */
  readonly credentials: readonly Readonly<Record<string, string>>[];
  /** Real values for parameters and body fields, so that requests get past the first check. */
  readonly words?: readonly string[];
  /** Bodies that are right, by `POST /v1/…`: sent with a few of their values replaced. */
  readonly examples?: Readonly<Record<string, readonly unknown[]>>;
  /** Requests per route. */
  readonly runs?: number;
  /** To repeat a run that failed. */
  readonly seed?: number;
}

interface FuzzRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

interface FuzzAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly requestId: string;
  readonly body: string;
}

/** An answer that takes longer is a hang; a stream that runs on is left after it. */
const patienceMs = 20_000;
const streamPatienceMs = 500;

/** The fields of the OpenAI wire, with which invented bodies come closer to real ones. */
const fields = `model messages input instructions stream stream_options tools tool_choice metadata conversation
  previous_response_id store temperature max_output_tokens response_format text items role content type id name user
  n stop rating comment assistant`.split(/\s+/);

/**
 * Sends each route what nobody would send. Every answer must come, none may be a defect (`internal`),
 * and each refusal must be the OpenAI error object with a request id. Throws with the seed and the
 * smallest request that broke a rule.
 */
export async function fuzzRoutes(options: FuzzOptions): Promise<{ readonly requests: number; readonly seed: number }> {
  const { url, routes, runs = 50, seed = Date.now() % 2 ** 31 } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  let requests = 0;
  try {
    for (const route of routes) {
      await fc.assert(
        fc.asyncProperty(requestTo(route, options), async (sent) => {
          requests += 1;
          const problem = problemOf(sent, await send(url, sent, agent));
          if (problem !== undefined) throw new Error(`${sent.method} ${sent.target}: ${problem}`);
        }),
        { seed, numRuns: runs },
      );
    }
  } finally {
    agent.destroy();
  }
  return { requests, seed };
}

/** What is wrong with an answer, or undefined. */
function problemOf(sent: FuzzRequest, answer: FuzzAnswer): string | undefined {
  if (answer.requestId === '') return `status ${answer.status} without a request id`;
  if (answer.status < 400) return undefined;
  if (sent.method === 'HEAD') return answer.status === 500 ? 'a defect (500)' : undefined;
  if (!answer.contentType.startsWith('application/json')) return `status ${answer.status} as ${answer.contentType}`;
  const { error } = JSON.parse(answer.body) as { error?: Record<string, unknown> };
  const isWhole =
    typeof error?.message === 'string' &&
    typeof error.type === 'string' &&
    typeof error.code === 'string' &&
    (error.param === null || typeof error.param === 'string');
  if (!isWhole) return `status ${answer.status} with a body that is no OpenAI error: ${answer.body}`;
  return error.code === 'internal' ? `a defect: ${answer.body}` : undefined;
}

function requestTo(route: Route, { credentials, words = [], examples = {} }: FuzzOptions): fc.Arbitrary<FuzzRequest> {
  const method = fc.oneof(
    { weight: 8, arbitrary: fc.constant<string>(route.method) },
    { weight: 1, arbitrary: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS') },
  );
  return fc
    .record({
      method,
      target: targetOf(route, words),
      headers: headersOf(credentials),
      body: bodyOf(words, examples[`${route.method} ${route.path}`] ?? []),
    })
    .map((request) => (request.method === 'GET' || request.method === 'HEAD' ? bodiless(request) : request));
}

function bodiless(request: FuzzRequest): FuzzRequest {
  return { ...request, body: Buffer.alloc(0) };
}

function targetOf(route: Route, words: readonly string[]): fc.Arbitrary<string> {
  const value = fc.oneof(
    fc.constantFrom('a', '..', '%00', '%2e%2e', '%ff', '__proto__', 'constructor', '0', '-1', ...words),
    fc.string({ unit: 'binary', maxLength: 40 }).map(encoded),
    fc.stringMatching(/^(conv|resp|msg|turn|key)_[0-9a-f]{32}$/),
    fc.constant('x'.repeat(4000)),
  );
  const segments = route.path.split('/').map((segment) => (segment.startsWith(':') ? value : fc.constant(segment)));
  const query = fc.oneof(
    fc.constant(''),
    fc
      .dictionary(
        fc.constantFrom('limit', 'after', 'before', 'order', 'stream', 'starting_after', 'include', '__proto__'),
        fc.oneof(fc.constantFrom('1', '-1', '1e999', 'NaN', 'true', '', ...words), fc.string({ unit: 'binary' })),
      )
      .map(
        (pairs) =>
          `?${Object.entries(pairs)
            .map(([name, text]) => `${name}=${encoded(text)}`)
            .join('&')}`,
      ),
  );
  return fc.tuple(fc.tuple(...segments), query).map(([path, search]) => (path.join('/') || '/') + search);
}

/** Percent-encodes what it can; a lone surrogate becomes bytes that are no UTF-8. */
function encoded(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : '%ed%a0%80';
}

function headersOf(credentials: FuzzOptions['credentials']): fc.Arbitrary<Record<string, string>> {
  const printable = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });
  const credential = fc.oneof(
    ...credentials.map((headers) => ({ weight: 8, arbitrary: fc.constant(headers) })),
    { weight: 1, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: printable.map((text) => ({ authorization: `Bearer ${text.trim()}` })) },
    { weight: 1, arbitrary: printable.map((text) => ({ authorization: text.trim(), 'api-key': text.trim() })) },
  );
  const others = fc.dictionary(
    fc.constantFrom('accept', 'origin', 'last-event-id', 'x-forwarded-for', 'x-forwarded-host', 'cookie', 'referer'),
    printable.map((text) => text.trim()),
    { maxKeys: 2 },
  );
  const type = fc.oneof(
    { weight: 8, arbitrary: fc.constant('application/json') },
    {
      weight: 1,
      arbitrary: fc.constantFrom('', 'text/plain', 'multipart/form-data; boundary=x', 'application/json;;'),
    },
  );
  return fc
    .tuple(others, type, credential)
    .map(([others, type, credential]) => Object.assign({}, others, { 'content-type': type }, credential));
}

function bodyOf(words: readonly string[], examples: readonly unknown[]): fc.Arbitrary<Buffer> {
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      fc.constantFrom<unknown>(null, true, 0, -1, 1e308, '', 'user', 'message', 'input_text', '__proto__', ...words),
      fc.string({ unit: 'binary' }),
      fc.double(),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.oneof(fc.constantFrom(...fields), fc.string()), tie('value'), { maxKeys: 6 }),
    ),
  }));
  const likely = fc.dictionary(fc.constantFrom(...fields), value, { minKeys: 1, maxKeys: 8 });
  const changes = fc.array(fc.tuple(fc.nat(), value), { maxLength: 3 });
  const mutated = examples.map((example) =>
    changes.map((changes) => changes.reduce<unknown>((body, [at, value]) => withOther(body, at, value), example)),
  );
  const text = fc.oneof(likely, value, ...mutated, ...mutated).map((body) => Buffer.from(JSON.stringify(body) ?? ''));
  return fc.oneof(
    { weight: 10, arbitrary: text },
    { weight: 2, arbitrary: fc.tuple(text, fc.nat()).map(([bytes, at]) => bytes.subarray(0, at % (bytes.length + 1))) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('['.repeat(50_000), '{"a":'.repeat(10_000)).map((deep) => Buffer.from(deep)),
    },
  );
}

/** A copy of `body` in which the node at `at`, counted through all of them and around again, is `value`. */
function withOther(body: unknown, at: number, value: unknown): unknown {
  const copy = { body: structuredClone(body) };
  const places: [Record<string, unknown>, string][] = [];
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    for (const name of Object.keys(node)) {
      places.push([node as Record<string, unknown>, name]);
      visit((node as Record<string, unknown>)[name]);
    }
  };
  visit(copy);
  const [node, name] = places[at % places.length] ?? [copy, 'body'];
  Object.defineProperty(node, name, { value, enumerable: true, configurable: true, writable: true });
  return copy.body;
}

function send(url: string, sent: FuzzRequest, agent: Agent): Promise<FuzzAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const { method, target, headers, body } = sent;
    const outgoing = openRequest({ agent, hostname, port, method, path: target, headers }, (answer) => {
      const chunks: Buffer[] = [];
      const settle = (): void => {
        clearTimeout(patience);
        clearTimeout(streamPatience);
        resolve({
          status: answer.statusCode ?? 0,
          contentType: answer.headers['content-type'] ?? '',
          requestId: String(answer.headers['x-request-id'] ?? ''),
          body: Buffer.concat(chunks).toString(),
        });
      };
      const isStream = answer.headers['content-type']?.startsWith('text/event-stream') === true;
      const streamPatience = isStream ? setTimeout(() => outgoing.destroy(), streamPatienceMs) : undefined;
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', settle).on('error', settle);
    });
    const patience = setTimeout(() => outgoing.destroy(new Error('no answer in time')), patienceMs);
    outgoing.on('error', (error) => {
      clearTimeout(patience);
      reject(error);
    });
    if (body.length > 0) outgoing.setHeader('content-length', body.length);
    outgoing.end(body);
  });
}
