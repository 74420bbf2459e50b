import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator, type SimulatorOptions } from './model-simulator.ts';

let simulator: ModelSimulator;
const freshOptions: Partial<SimulatorOptions> = {
  prefillTokensPerSecond: 0,
  tokenMs: 0,
  batchSlowdown: 0,
  concurrency: 0,
  cacheBlocks: 4096,
  requestsPerMinute: 0,
  tokensPerMinute: 0,
  apiKeys: [],
  strictModels: false,
};

beforeAll(async () => {
  simulator = await startModelSimulator();
});
afterAll(() => simulator.stop());
beforeEach(async () => {
  await simulator.clear();
  await simulator.control({ do: 'forget' });
  await simulator.control({ do: 'options', options: freshOptions });
});

interface Asked {
  readonly content?: string;
  readonly body?: object;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

function ask({ content = 'hello', body = {}, headers = {}, signal }: Asked = {}): Promise<Response> {
  return fetch(`${simulator.baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'simulated', messages: [{ role: 'user', content }], ...body }),
    ...(signal === undefined ? {} : { signal }),
  });
}

interface Whole {
  readonly choices: readonly { message: { content: string; tool_calls?: unknown }; finish_reason: string }[];
  readonly usage: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details: { cached_tokens: number };
  };
}

const wholeOf = async (response: Response): Promise<Whole> => (await response.json()) as Whole;

interface Chunk {
  readonly choices: readonly { delta: { content?: string }; finish_reason: string | null }[];
  readonly usage?: object | null;
  readonly error?: object;
}

function eventsOf(text: string): Chunk[] {
  return text
    .split(/\r?\n/u)
    .filter((line) => line.startsWith('data: {'))
    .map((line) => JSON.parse(line.slice(6)) as Chunk);
}

const said = (chunks: readonly Chunk[]): string =>
  chunks.map((chunk) => chunk.choices?.[0]?.delta.content ?? '').join('');

/** Reads until the body ends or breaks. */
async function readAll(response: Response): Promise<{ text: string; broke: boolean }> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const piece of response.body ?? []) text += decoder.decode(piece, { stream: true });
    return { text, broke: false };
  } catch {
    return { text, broke: true };
  }
}

describe('answers', () => {
  test('the same prompt gets the same words, streamed and whole, and another prompt others', async () => {
    const whole = await wholeOf(await ask());
    const streamed = eventsOf(await (await ask({ body: { stream: true } })).text());
    const other = await wholeOf(await ask({ content: 'good bye' }));
    expect(said(streamed)).toBe(whole.choices[0]?.message.content);
    expect(other.choices[0]?.message.content).not.toBe(whole.choices[0]?.message.content);
  });

  test('say, echo and tokens determine the answer', async () => {
    const say = await wholeOf(await ask({ content: 'x [[sim:say Fourteen seats are free.]]' }));
    expect(say.choices[0]?.message.content).toBe('Fourteen seats are free.');
    const echo = await wholeOf(await ask({ content: 'grüß dich 🎭 [[sim:echo]]' }));
    expect(echo.choices[0]?.message.content).toBe('grüß dich 🎭 [[sim:echo]]');
    const long = await wholeOf(await ask({ content: '[[sim:tokens 77]]' }));
    expect(long.usage.completion_tokens).toBe(77);
  });

  test('max_tokens and stop words end an answer with their finish reason', async () => {
    const short = await wholeOf(
      await ask({ content: '[[sim:say one two three]]', body: { max_completion_tokens: 2 } }),
    );
    expect(short.choices[0]).toMatchObject({ message: { content: 'one two' }, finish_reason: 'length' });
    const stopped = await wholeOf(await ask({ content: '[[sim:say one two three]]', body: { stop: ['thr'] } }));
    expect(stopped.choices[0]).toMatchObject({ message: { content: 'one two ' }, finish_reason: 'stop' });
  });

  test('usage comes in the last event when asked for, and only then', async () => {
    const asked = eventsOf(
      await (await ask({ body: { stream: true, stream_options: { include_usage: true } } })).text(),
    );
    expect(asked.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 16 } });
    const plain = eventsOf(await (await ask({ body: { stream: true } })).text());
    expect(plain.some((chunk) => chunk.usage !== undefined)).toBe(false);
  });

  test('tools are called as commanded, round by round, and the rest is text', async () => {
    const tools = [{ type: 'function', function: { name: 'weather' } }];
    const content = '[[sim:call weather {"city":"Bern"}]][[sim:then]][[sim:call weather {"city":"Basel"}]]';
    const messages: object[] = [{ role: 'user', content }];
    const cities: string[] = [];
    for (;;) {
      const { choices } = await wholeOf(await ask({ body: { messages, tools } }));
      const calls = choices[0]?.message.tool_calls as { id: string; function: { arguments: string } }[] | undefined;
      if (calls === undefined) break;
      cities.push(...calls.map((call) => (JSON.parse(call.function.arguments) as { city: string }).city));
      messages.push(choices[0]?.message ?? {}, { role: 'tool', tool_call_id: calls[0]?.id, content: 'sunny' });
    }
    expect(cities).toEqual(['Bern', 'Basel']);
  });

  test('a required tool choice calls the tool with arguments that fit its schema', async () => {
    const parameters = { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } };
    const tools = [{ type: 'function', function: { name: 'weather', parameters } }];
    const { choices } = await wholeOf(await ask({ body: { tools, tool_choice: 'required' } }));
    expect(choices[0]?.finish_reason).toBe('tool_calls');
    expect(choices[0]?.message.tool_calls).toMatchObject([
      { function: { name: 'weather', arguments: '{"city":"simulated","days":1}' } },
    ]);
  });

  test('a command that does not exist fails loudly', async () => {
    expect((await ask({ content: '[[sim:cutt after=1]]' })).status).toBe(418);
    await expect(simulator.control({ do: 'options', options: { tokenMS: 1 } as object })).rejects.toThrow('tokenMS');
  });
});

describe('prefix cache and pace', () => {
  const seats = (from: number): string => Array.from({ length: 400 }, (_, index) => `seat${from + index}`).join(' ');
  const cachedOf = async (content: string): Promise<number> =>
    (await wholeOf(await ask({ content }))).usage.prompt_tokens_details.cached_tokens;

  test('a prompt that begins like an earlier one reports the shared blocks as cached', async () => {
    await simulator.control({ do: 'options', options: { cacheBlocks: 512, blockTokens: 16 } });
    expect(await cachedOf(`${seats(0)} first`)).toBe(0);
    const cached = await cachedOf(`${seats(0)} second`);
    expect(cached % 16).toBe(0);
    expect(cached).toBeGreaterThan(300);
    expect(await cachedOf(`other ${seats(0)}`)).toBe(0);
  });

  test('the least recently used prompt is evicted when the blocks run out, its tail first', async () => {
    const blocks = Math.floor((await wholeOf(await ask({ content: seats(0) }))).usage.prompt_tokens / 16);
    await simulator.control({ do: 'options', options: { cacheBlocks: 2 * blocks } });
    await cachedOf(seats(0));
    await cachedOf(seats(1000));
    expect(await cachedOf(seats(0))).toBeGreaterThan(0);
    await cachedOf(seats(2000));
    expect(await cachedOf(seats(0))).toBeGreaterThan(0);
    const half = await cachedOf(seats(1000));
    expect(half).toBeLessThan(blocks * 16 - 16);
    expect((await simulator.log()).totals.cacheBlocks).toBeLessThanOrEqual(2 * blocks);
  });

  test('prefill takes its time, once', async () => {
    await simulator.control({ do: 'options', options: { prefillTokensPerSecond: 2000, cacheBlocks: 512 } });
    await ask({ content: seats(0) });
    await ask({ content: seats(0) });
    const [cold, warm] = (await simulator.log()).requests;
    const wait = (entry = cold): number => (entry?.firstTokenAt ?? 0) - (entry?.at ?? 0);
    expect(wait(cold)).toBeGreaterThanOrEqual(((cold?.promptTokens ?? 0) / 2000) * 1000);
    expect(wait(warm)).toBeLessThan(wait(cold));
  });

  test('sequences over the concurrency wait in line, and one who left frees its place', async () => {
    await simulator.control({ do: 'options', options: { concurrency: 1 } });
    await simulator.plan('[[sim:stall after=1]]', { next: 2 });
    const first = new AbortController();
    await ask({ body: { stream: true }, signal: first.signal });
    const second = ask({ body: { stream: true } });
    await simulator.until(({ totals }) => totals.requests >= 2 && totals.active === 2);
    expect((await simulator.log()).totals.activeMax).toBe(1);
    first.abort();
    await simulator.until(({ requests }) => requests.at(-1)?.tokens === 1);
    await simulator.control({ do: 'release' });
    expect((await (await second).text()).endsWith('data: [DONE]\n\n')).toBe(true);
  });

  test('tokens come slower the more sequences run', async () => {
    await simulator.control({ do: 'options', options: { tokenMs: 4, batchSlowdown: 1 } });
    await (await ask({ content: '[[sim:tokens 50]]' })).text();
    await Promise.all([1, 2, 3].map(async (n) => (await ask({ content: `${n} [[sim:tokens 50]]` })).text()));
    const times = (await simulator.log()).requests.map((entry) => (entry.endedAt ?? 0) - entry.at);
    expect(times[0]).toBeGreaterThanOrEqual(194);
    expect(Math.max(...times.slice(1))).toBeGreaterThanOrEqual(1.5 * 194);
  });
});

describe('limits and keys', () => {
  test("requests over the limit get 429 with OpenAI's headers", async () => {
    await simulator.control({ do: 'options', options: { requestsPerMinute: 2 } });
    const first = await ask();
    expect(first.headers.get('x-ratelimit-remaining-requests')).toBe('1');
    expect(first.headers.get('x-ratelimit-limit-requests')).toBe('2');
    await ask();
    const refused = await ask();
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(20);
    expect(refused.headers.get('x-ratelimit-reset-requests')).toMatch(/^(\d+m)?[\d.]+s$/u);
    expect(await refused.json()).toMatchObject({ error: { code: 'rate_limit_exceeded', type: 'requests' } });
  });

  test('tokens over the limit get 429 by their prompt and max_tokens, and a small call still passes', async () => {
    await simulator.control({ do: 'options', options: { tokensPerMinute: 1000 } });
    expect((await ask({ body: { max_tokens: 900 } })).status).toBe(200);
    const refused = await ask({ body: { max_tokens: 900 } });
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ error: { type: 'tokens' } });
    expect((await ask({ body: { max_tokens: 10 } })).status).toBe(200);
  });

  test('limits are kept by API key, and a wrong key gets 401', async () => {
    await simulator.control({ do: 'options', options: { requestsPerMinute: 1, apiKeys: ['a', 'b'] } });
    const status = async (key: string): Promise<number> =>
      (await ask({ headers: { authorization: `Bearer ${key}` } })).status;
    expect([await status('a'), await status('a'), await status('b'), await status('c')]).toEqual([200, 429, 200, 401]);
  });

  test('a prompt over the context gets context_length_exceeded', async () => {
    await simulator.control({ do: 'options', options: { contextTokens: 50 } });
    const response = await ask({ content: 'word '.repeat(80) });
    await simulator.control({ do: 'options', options: { contextTokens: 131_072 } });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'context_length_exceeded' } });
  });

  test('an unknown model gets 404 when names are strict', async () => {
    await simulator.control({ do: 'options', options: { strictModels: true } });
    const response = await ask({ body: { model: 'unknown' } });
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: 'model_not_found' } });
  });
});

describe('failures on command', () => {
  const streamed = async (command: string): Promise<{ text: string; broke: boolean }> =>
    readAll(await ask({ content: `[[sim:tokens 9]] [[sim:${command}]]`, body: { stream: true } }));
  const tokensIn = (text: string): number =>
    eventsOf(text).filter((chunk) => (chunk.choices?.[0]?.delta.content ?? '') !== '').length;

  test.each(['fin', 'reset'])('a cut (%s) sends its tokens and breaks the connection', async (how) => {
    const { text, broke } = await streamed(`cut after=5 how=${how}`);
    expect(broke).toBe(true);
    expect(tokensIn(text)).toBe(5);
  });

  test('a cut in form ends the body without its last event', async () => {
    const { text, broke } = await streamed('cut after=5 how=end');
    expect(broke).toBe(false);
    expect(tokensIn(text)).toBe(5);
    expect(text).not.toContain('[DONE]');
  });

  test('an error event ends the stream', async () => {
    const { text } = await streamed('error-event after=3');
    expect(tokensIn(text)).toBe(3);
    expect(eventsOf(text).at(-1)).toMatchObject({ error: { code: 'server_error' } });
  });

  test('garbage is no event', async () => {
    const { text } = await streamed('garbage after=2');
    expect(tokensIn(text)).toBe(2);
    expect(text).toContain('<html>');
    expect(text).not.toContain('[DONE]');
  });

  test('an error body comes with status 200', async () => {
    const response = await ask({ content: '[[sim:error-body]]', body: { stream: true } });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ error: { type: 'server_error' } });
  });

  test.each([
    ['401', 401, 'invalid_api_key'],
    ['404', 404, 'model_not_found'],
    ['429 retry-after-ms=1500', 429, 'rate_limit_exceeded'],
    ['500', 500, 'server_error'],
    ['status 503 code=overloaded', 503, 'overloaded'],
    ['context_length_exceeded', 400, 'context_length_exceeded'],
  ])('%s is answered with its status and code', async (command, status, code) => {
    const response = await ask({ content: `[[sim:${command}]]` });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ error: { code } });
    expect(response.headers.get('retry-after')).toBe(status === 429 ? '2' : null);
  });

  test('a reset breaks the connection before any answer', async () => {
    await expect(ask({ content: '[[sim:reset]]' })).rejects.toThrow('fetch failed');
  });

  test('a refused connection is refused, and comes back on the same port', async () => {
    await simulator.control({ do: 'listen', on: false });
    await expect(ask()).rejects.toThrow('fetch failed');
    await simulator.control({ do: 'listen', on: true });
    expect((await ask()).status).toBe(200);
  });

  test('a stall stays silent until it is released, then goes on', async () => {
    const response = await ask({ content: '[[sim:tokens 9]] [[sim:stall after=4]]', body: { stream: true } });
    await simulator.until(({ requests }) => requests.at(-1)?.tokens === 4);
    await simulator.control({ do: 'release' });
    const { text } = await readAll(response);
    expect(tokensIn(text)).toBe(9);
    expect(text).toContain('[DONE]');
  });

  test('a hanging request gets no byte until it is released', async () => {
    const response = ask({ content: '[[sim:hang]]' });
    await simulator.until(({ totals }) => totals.active === 1);
    await simulator.control({ do: 'release' });
    expect((await response).status).toBe(200);
  });

  test.each(['endless', 'endless-line'])(
    '%s goes on until the client leaves, which the journal shows',
    async (kind) => {
      const client = new AbortController();
      const response = await ask({ content: `[[sim:${kind}]]`, body: { stream: true }, signal: client.signal });
      const reader = response.body?.getReader();
      for (let read = 0; read < 20_000;) read += (await reader?.read())?.value?.length ?? 0;
      client.abort();
      const { requests } = await simulator.until((log) => log.requests.at(-1)?.end === 'aborted');
      expect(requests.at(-1)?.tokens).toBeGreaterThan(10);
    },
  );

  test.each(['slice max=1', 'slice max=40 seed=7', 'slow-headers 0', 'crlf', 'comments'])(
    '%s changes no content',
    async (command) => {
      const { text, broke } = await streamed(command);
      expect(broke).toBe(false);
      expect(tokensIn(text)).toBe(9);
      expect(text).toContain('data: [DONE]');
    },
  );

  test('rules hold for the next requests, by match, or by seeded probability, and a marker outranks them', async () => {
    await simulator.plan('[[sim:500]]', { next: 2, contains: 'row' });
    const status = async (content: string): Promise<number> => (await ask({ content })).status;
    expect([await status('row'), await status('seat'), await status('row'), await status('row')]).toEqual([
      500, 200, 500, 200,
    ]);
    const draw = async (): Promise<number[]> => {
      await simulator.clear();
      await simulator.planAll('[[sim:500]]', { probability: 0.5, seed: 3 });
      const drawn: number[] = [];
      for (let index = 0; index < 12; index += 1) drawn.push(await status('x'));
      return drawn;
    };
    const drawn = await draw();
    expect(new Set(drawn)).toEqual(new Set([200, 500]));
    expect(await draw()).toEqual(drawn);
    expect(await status('[[sim:429]]')).toBe(429);
  });

  test('a header commands a request as well', async () => {
    const response = await ask({ headers: { 'x-simulate': 'status 502 code=bad_gateway' } });
    expect(response.status).toBe(502);
  });
});

describe('journal', () => {
  test('it keeps what was asked, and shows when a client left and after which token', async () => {
    const client = new AbortController();
    await ask({
      content: '[[sim:stall after=3]]',
      body: { stream: true, user: 'someone' },
      headers: { 'x-test': 'yes' },
      signal: client.signal,
    });
    await simulator.until(({ requests }) => requests.at(-1)?.tokens === 3);
    client.abort();
    const log = await simulator.until(({ requests }) => requests.at(-1)?.end === 'aborted');
    expect(log.requests.at(-1)).toMatchObject({
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'x-test': 'yes' },
      body: { user: 'someone' },
      tokens: 3,
      active: 1,
    });
    expect(log.totals.active).toBe(0);
  });

  test('health and models are answered', async () => {
    expect((await fetch(`${simulator.url}/health`)).status).toBe(200);
    const models = (await (await fetch(`${simulator.baseUrl}/models`)).json()) as { data: { id: string }[] };
    expect(models.data.map((model) => model.id)).toEqual(['simulated']);
    expect((await fetch(`${simulator.url}/v2/other`)).status).toBe(404);
  });
});

describe('embeddings', () => {
  const embed = async (body: object): Promise<Response> =>
    fetch(`${simulator.baseUrl}/embeddings`, {
      method: 'POST',
      body: JSON.stringify({ model: 'simulated', ...body }),
    });
  const vectorsOf = async (body: object): Promise<number[][]> => {
    const { data } = (await (await embed(body)).json()) as { data: { embedding: number[] }[] };
    return data.map(({ embedding }) => embedding);
  };

  test('the same text has the same vector, of length 1 and as many numbers as asked for', async () => {
    const input = ['the third row', 'a', '…'];
    const first = await vectorsOf({ input, dimensions: 12 });
    expect(await vectorsOf({ input, dimensions: 12 })).toEqual(first);
    for (const vector of first) {
      expect(vector).toHaveLength(12);
      expect(Math.hypot(...vector)).toBeCloseTo(1);
    }
  });

  test('faults are commanded as for answers', async () => {
    expect((await embed({ input: '[[sim:429]]' })).status).toBe(429);
    expect((await embed({ input: [1, 2] })).status).toBe(400);
    await simulator.control({ do: 'options', options: { strictModels: true, apiKeys: ['k'] } });
    expect((await embed({ input: 'x' })).status).toBe(401);
  });
});
