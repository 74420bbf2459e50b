import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerResponse } from 'node:http';
import { describe, expect, test } from 'vitest';
import {
  answerText,
  chunkEvent,
  doneEvent,
  scriptedBackend,
  streamHead,
  usageEvent,
  type ScriptedRequest,
} from '#test/scripted-backend';
import { BackendFailure, type AnswerEnd, type LimitSignal, type ModelEvent, type ModelRequest } from '../port.ts';
import { openOpenAiBackend, type OpenAiBackendOptions } from './openai-backend.ts';

const timeouts = { connectMs: 5_000, firstTokenMs: 5_000, betweenTokensMs: 5_000, wholeMs: 20_000 };
const hello: ModelRequest = {
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hello' },
  ],
  parameters: {},
  passages: [],
  question: 'Hello',
};
const secretKey = 'sk-verysecret123';

interface Told {
  readonly events: ModelEvent[];
  readonly limits: LimitSignal[];
  readonly end?: AnswerEnd;
  readonly failure?: BackendFailure;
}

interface AskOptions {
  readonly request?: ModelRequest;
  readonly timeouts?: Partial<typeof timeouts>;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: ModelEvent) => void | Promise<void>;
  readonly backend?: Partial<OpenAiBackendOptions>;
}

async function ask(url: string, options: AskOptions = {}): Promise<Told> {
  const backend = openOpenAiBackend({
    name: 'main',
    kind: 'openai-compatible',
    url,
    model: 'scripted',
    apiKey: secretKey,
    ...options.backend,
  });
  const events: ModelEvent[] = [];
  const limits: LimitSignal[] = [];
  const sink = {
    head: (signal: LimitSignal) => limits.push(signal),
    event: (event: ModelEvent) => {
      events.push(event);
      return options.onEvent?.(event);
    },
  };
  try {
    const patience = { ...timeouts, ...options.timeouts };
    const signal = options.signal ?? new AbortController().signal;
    const end = await backend.answer(options.request ?? hello, sink, patience, signal);
    return { events, limits, end };
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    return { events, limits, failure: error };
  } finally {
    await backend.close();
  }
}

/** Asks a server that answers each request with `answer`. */
async function askScripted(
  answer: (request: ScriptedRequest, response: ServerResponse, nth: number) => void | Promise<void>,
  options: AskOptions = {},
): Promise<Told & { readonly requests: readonly ScriptedRequest[] }> {
  await using server = await scriptedBackend(answer);
  return { ...(await ask(server.url, options)), requests: server.requests };
}

function textOf(events: readonly ModelEvent[]): string {
  return events.map((event) => (event.type === 'text' ? event.text : '')).join('');
}

describe('an answer', () => {
  test('arrives in pieces, with its limits before and its usage at the end', async () => {
    const told = await askScripted((_request, response) => {
      streamHead(response, { 'x-ratelimit-remaining-requests': '99', 'x-ratelimit-reset-tokens': '6m0s' });
      response.write(chunkEvent({ role: 'assistant', content: '' }));
      response.write(chunkEvent({ content: 'Good ' }));
      response.write(chunkEvent({ content: 'day' }));
      response.write(chunkEvent({}, 'stop'));
      response.write(
        usageEvent({
          prompt_tokens: 10,
          completion_tokens: 5,
          prompt_tokens_details: { cached_tokens: 4 },
          completion_tokens_details: { reasoning_tokens: 2 },
        }),
      );
      response.end(doneEvent);
    });
    expect(told.events).toEqual([
      { type: 'text', text: 'Good ' },
      { type: 'text', text: 'day' },
    ]);
    expect(told.limits).toEqual([{ requestsRemaining: 99, tokensResetMs: 360_000 }]);
    expect(told.end).toEqual({
      finish: 'stop',
      usage: { inputTokens: 10, cachedInputTokens: 4, outputTokens: 5, reasoningTokens: 2, estimated: false },
    });
  });

  test.each([
    ['stop', 'stop'],
    ['length', 'length'],
    ['tool_calls', 'call'],
    ['content_filter', 'filtered'],
    ['eos', 'stop'],
  ])('that the server finished with %s is finished with %s', async (wire, finish) => {
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.end(chunkEvent({ content: 'x' }) + chunkEvent({}, wire) + doneEvent);
    });
    expect(told.end?.finish).toBe(finish);
  });

  test('with parallel calls tells them apart, and tells id and name once', async () => {
    const call = (index: number, rest: object) => chunkEvent({ tool_calls: [{ index, ...rest }] });
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.write(call(0, { id: 'a', type: 'function', function: { name: 'find', arguments: '' } }));
      response.write(call(0, { id: 'a', function: { name: 'find', arguments: '{"q":' } }));
      response.write(call(1, { id: 'b', function: { name: 'count', arguments: '{}' } }));
      response.write(call(0, { function: { arguments: '1}' } }));
      response.end(chunkEvent({}, 'stop') + doneEvent);
    });
    expect(told.events).toEqual([
      { type: 'call', index: 0, callId: 'a', name: 'find', arguments: '' },
      { type: 'call', index: 0, arguments: '{"q":' },
      { type: 'call', index: 1, callId: 'b', name: 'count', arguments: '{}' },
      { type: 'call', index: 0, arguments: '1}' },
    ]);
    expect(told.end?.finish).toBe('call');
  });

  test('keeps refusals and what it thinks apart', async () => {
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.write(chunkEvent({ reasoning_content: 'Hmm, ' }));
      response.write(chunkEvent({ reasoning: 'let me', reasoning_content: 'let me' }));
      response.write(chunkEvent({ reasoning: ' think' }));
      response.write(chunkEvent({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: '.' }] }] }));
      response.write(chunkEvent({ refusal: 'I cannot help with that.' }));
      response.end(chunkEvent({}, 'stop') + doneEvent);
    });
    expect(told.events).toEqual([
      ...['Hmm, ', 'let me', ' think', '.'].map((text) => ({ type: 'reasoning', text })),
      { type: 'refusal', text: 'I cannot help with that.' },
    ]);
  });

  test('without an end marker counts where the model said why it stopped', async () => {
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.end(chunkEvent({ content: 'whole' }) + chunkEvent({}, 'stop'));
    });
    expect(told.end).toEqual({ finish: 'stop', usage: undefined });
  });

  test('has no usage where its counts are none that an answer can have', async () => {
    for (const count of [Number.MAX_SAFE_INTEGER, -1, 1.5, '7', 1e300]) {
      const usage = { prompt_tokens: 10, completion_tokens: count };
      const told = await askScripted((_request, response) => {
        streamHead(response);
        response.end(chunkEvent({ content: 'Hi' }) + chunkEvent({}, 'stop') + usageEvent(usage) + doneEvent);
      });
      expect(told.end).toEqual({ finish: 'stop', usage: undefined });
    }
  });

  test('ends when its end marker came, though the server keeps the connection open', async () => {
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.write(chunkEvent({ content: 'whole' }) + chunkEvent({}, 'stop') + doneEvent);
    });
    expect(told.end?.finish).toBe('stop');
  });
});

describe('what is sent', () => {
  test('is a streamed request with the key in its header and nowhere else', async () => {
    const told = await askScripted((_request, response) => answerText(response, 'x'), {
      request: { ...hello, parameters: { maxOutputTokens: 7, temperature: 0.5, stop: ['END'], seed: 3 } },
    });
    const [sent] = told.requests;
    expect(sent).toMatchObject({ method: 'POST', path: '/v1/chat/completions' });
    expect(sent?.headers).toMatchObject({ authorization: `Bearer ${secretKey}`, 'accept-encoding': 'identity' });
    expect(sent?.body).toEqual({
      model: 'scripted',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Hello' },
      ],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 7,
      temperature: 0.5,
      stop: ['END'],
      seed: 3,
    });
  });

  test('carries tools, calls, their results, images and the format', async () => {
    const told = await askScripted((_request, response) => answerText(response, 'x'), {
      backend: { kind: 'openai' },
      request: {
        ...hello,
        messages: [
          { role: 'user', content: [{ type: 'image', url: 'data:image/png;base64,AA==', detail: 'low' }] },
          { role: 'assistant', content: '', calls: [{ callId: 'c1', name: 'find', arguments: '{}' }] },
          { role: 'tool', callId: 'c1', content: 'found' },
        ],
        model: 'other',
        parameters: { maxOutputTokens: 9, reasoningEffort: 'low' },
        tools: [{ name: 'find', parameters: { type: 'object' }, strict: true }],
        toolChoice: { name: 'find' },
        parallelCalls: false,
        format: { type: 'schema', name: 'reply', schema: { type: 'object' }, strict: true },
      },
    });
    expect(told.requests[0]?.body).toMatchObject({
      model: 'other',
      max_completion_tokens: 9,
      reasoning_effort: 'low',
      messages: [
        {
          role: 'user',
          content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } }],
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'find', arguments: '{}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'found' },
      ],
      tools: [{ type: 'function', function: { name: 'find', parameters: { type: 'object' }, strict: true } }],
      tool_choice: { type: 'function', function: { name: 'find' } },
      parallel_tool_calls: false,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'reply', schema: { type: 'object' }, strict: true },
      },
    });
  });

  test('goes to the deployment on Azure, with its own header and no model', async () => {
    await using server = await scriptedBackend((_request, response) => answerText(response, 'x'));
    await ask(`http://127.0.0.1:${server.port}/`, {
      backend: { kind: 'azure-openai', model: undefined, deployment: 'chat four', apiVersion: '2024-10-21' },
    });
    const [sent] = server.requests;
    expect(sent?.path).toBe('/openai/deployments/chat%20four/chat/completions?api-version=2024-10-21');
    expect(sent?.headers).toMatchObject({ 'api-key': secretKey });
    expect(sent?.headers['authorization']).toBeUndefined();
    expect(sent?.body).not.toHaveProperty('model');
  });

  test('leaves out what the server refuses to know, asks once more, and remembers', async () => {
    await using server = await scriptedBackend((request, response) => {
      const body = request.body as { stream_options?: object; max_tokens?: number };
      const param = body.stream_options ? 'stream_options' : body.max_tokens ? 'max_tokens' : undefined;
      if (param === undefined) {
        answerText(response, 'good');
        return;
      }
      response.writeHead(400, { 'content-type': 'application/json' });
      const message = `Unsupported parameter: '${param}' is not supported with this model.`;
      response.end(JSON.stringify({ error: { message, param, code: 'unsupported_parameter' } }));
    });
    const backend = openOpenAiBackend({ name: 'main', kind: 'openai-compatible', url: server.url, model: 'm' });
    const request = { ...hello, parameters: { maxOutputTokens: 5 } };
    const sink = { event: () => undefined };
    for (let turn = 0; turn < 2; turn++) {
      const end = await backend.answer(request, sink, timeouts, new AbortController().signal);
      expect(end.finish).toBe('stop');
    }
    await backend.close();
    expect(server.requests.map((sent) => Object.keys(sent.body as object).slice(3))).toEqual([
      ['stream_options', 'max_tokens'],
      ['max_tokens'],
      ['max_completion_tokens'],
      ['max_completion_tokens'],
    ]);
  });

  test('what a model thought is taken back by servers that know it, and left out for those that refuse it', async () => {
    await using server = await scriptedBackend((request, response) => {
      if (!JSON.stringify(request.body).includes('reasoning_content')) return answerText(response, 'good');
      response.writeHead(422, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({ detail: [{ type: 'extra_forbidden', loc: ['messages', 1, 'reasoning_content'] }] }),
      );
    });
    const call = { callId: 'call_1', name: 'seats', arguments: '{}' };
    const messages = [
      ...hello.messages,
      { role: 'assistant' as const, content: '', reasoning: 'Look.', calls: [call] },
      { role: 'tool' as const, callId: 'call_1', content: 'free' },
    ];
    const sink = { event: () => undefined };
    const counts: number[] = [];
    for (const kind of ['openai-compatible', 'openai'] as const) {
      const backend = openOpenAiBackend({ name: 'main', kind, url: server.url, model: 'm' });
      for (let turn = 0; turn < 2; turn += 1) {
        await backend.answer({ ...hello, messages }, sink, timeouts, new AbortController().signal);
        counts.push(server.requests.length);
      }
      await backend.close();
    }
    // Refused once by the first, and never sent to the second.
    expect(counts).toEqual([2, 3, 4, 5]);
  });
});

describe('a failure is told for what it is', () => {
  const sentence = `the prompt was "Hello" and the key was ${secretKey}`;

  test.each([
    [429, 'limited'],
    [500, 'server'],
    [503, 'server'],
    [408, 'server'],
    [400, 'refused'],
    [413, 'refused'],
    [422, 'refused'],
    [401, 'misconfigured'],
    [403, 'misconfigured'],
    [404, 'misconfigured'],
    [302, 'misconfigured'],
    [204, 'garbage'],
  ])('status %i is %s, without a word of the body', async (status, kind) => {
    const told = await askScripted((_request, response) => {
      response.writeHead(status, {
        'content-type': 'application/json',
        'retry-after': '3',
        'x-ratelimit-remaining-tokens': '0',
        location: '/elsewhere',
      });
      response.end(
        status === 204 ? '' : JSON.stringify({ error: { message: sentence, code: 'context_length_exceeded' } }),
      );
    });
    expect(told.failure).toMatchObject({ kind, status, backend: 'main' });
    expect(told.failure?.limits).toEqual({ tokensRemaining: 0, retryAfterMs: 3_000 });
    if (status !== 204) expect(told.failure?.backendCode).toBe('context_length_exceeded');
    expect(JSON.stringify([told.failure, told.failure?.message, told.failure?.stack])).not.toMatch(/secret|Hello/);
    expect(told.requests).toHaveLength(1);
    expect(told.limits).toEqual([]);
  });

  test('an error body that never ends is not waited for', async () => {
    const told = await askScripted((_request, response) => {
      response.writeHead(500, { 'content-type': 'text/plain' });
      response.write('x');
    });
    expect(told.failure).toMatchObject({ kind: 'server', status: 500 });
  });

  test('a code that echoes the key is dropped', async () => {
    const told = await askScripted(
      (_request, response) => {
        response.writeHead(400, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: { code: 'deadbeef42' } }));
      },
      { backend: { apiKey: 'deadbeef42' } },
    );
    expect(told.failure).toMatchObject({ kind: 'refused', backendCode: undefined });
  });

  test('status 200 with an error for a body is the server failing', async () => {
    const told = await askScripted((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: { message: sentence, type: 'overloaded_error' } }));
    });
    expect(told.failure).toMatchObject({ kind: 'server', status: 200, backendCode: 'overloaded_error' });
    expect(told.failure?.message).not.toContain('secret');
  });

  test('an error inside the stream is the server failing, after what came before it', async () => {
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.write(chunkEvent({ content: 'half an' }));
      response.end(`data: ${JSON.stringify({ error: { message: sentence, code: 500 } })}\n\n${doneEvent}`);
    });
    expect(textOf(told.events)).toBe('half an');
    expect(told.failure).toMatchObject({ kind: 'server', backendCode: '500' });
    expect(told.failure?.message).not.toContain('secret');
  });

  test.each([
    ['a web page', 'text/html', '<html><body>Welcome</body></html>'],
    ['a page sent as plain text', 'text/plain', 'Welcome to nginx'],
    ['JSON that is no error', 'application/json', '{"hello":"world"}'],
    ['broken JSON', 'application/json', '{"hello'],
    ['an event of broken JSON', 'text/event-stream', 'data: {"choices":[{"del\n\n'],
    ['an event of other JSON', 'text/event-stream', 'data: {"hello":"world"}\n\n'],
    ['an event that is no object', 'text/event-stream', 'data: 42\n\n'],
    ['an end marker alone', 'text/event-stream', doneEvent],
    ['a call without a name', 'text/event-stream', chunkEvent({ tool_calls: [{ index: 0 }] })],
    [
      'a call with a wild index',
      'text/event-stream',
      chunkEvent({ tool_calls: [{ index: 1e9, function: { name: 'x' } }] }),
    ],
  ])('%s is garbage', async (_what, type, body) => {
    const told = await askScripted((_request, response) => {
      response.writeHead(200, { 'content-type': type });
      response.end(body);
    });
    expect(told.failure?.kind).toBe('garbage');
    expect(told.events).toEqual([]);
  });

  test.each([
    ['a line of data', 'data: '],
    ['a line of nothing known', 'x'],
    ['one event of many lines', 'data: x\n'],
  ])('%s that never ends is garbage, long before it fills the memory', async (_what, piece) => {
    let sentBytes = 0;
    const told = await askScripted(async (_request, response) => {
      streamHead(response);
      const block = piece === 'data: x\n' ? piece.repeat(8_000) : piece + 'x'.repeat(64_000);
      response.write(piece);
      while (!response.destroyed && sentBytes < 1e9) {
        sentBytes += block.length;
        if (!response.write(piece === 'data: ' ? 'x'.repeat(64_000) : block)) await sleep(1);
      }
    });
    expect(told.failure?.kind).toBe('garbage');
    expect(sentBytes).toBeLessThan(50e6);
  });

  test('bytes that are not HTTP are garbage', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.end('SSH-2.0-OpenSSH_9.2\r\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const told = await ask(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
    server.close();
    expect(told.failure?.kind).toBe('garbage');
  });

  test('a stream that ends in the middle is cut, never a success', async () => {
    const told = await askScripted((_request, response) => {
      streamHead(response);
      response.end(chunkEvent({ content: 'half an' }));
    });
    expect(textOf(told.events)).toBe('half an');
    expect(told.failure?.kind).toBe('cut');
  });

  test('a connection that breaks in the middle is cut', async () => {
    const told = await askScripted(async (request, response) => {
      streamHead(response);
      response.write(chunkEvent({ content: 'half an' }));
      await sleep(20);
      request.socket.resetAndDestroy();
    });
    expect(told.failure?.kind).toBe('cut');
  });

  test('a connection that breaks before the answer is cut', async () => {
    const told = await askScripted((request) => void request.socket.destroy());
    expect(told.failure?.kind).toBe('cut');
  });

  test('nobody at the address is a failure to connect, told with the address', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, 'close');
    const told = await ask(`http://127.0.0.1:${port}/v1`);
    expect(told.failure?.kind).toBe('connect');
    expect(told.failure?.message).toContain(`http://127.0.0.1:${port} (ECONNREFUSED)`);
  });
});

describe('time-outs', () => {
  const slow = 60;

  test('no first token, though headers and heartbeats came', async () => {
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        const beat = setInterval(() => response.write(': still there\n\n' + chunkEvent({ content: '' })), 10);
        response.on('close', () => clearInterval(beat));
      },
      { timeouts: { firstTokenMs: slow } },
    );
    expect(told.failure).toMatchObject({ kind: 'timeout' });
    expect(told.failure?.message).toContain('first-token time-out');
  });

  test('no headers at all', async () => {
    const told = await askScripted(() => undefined, { timeouts: { firstTokenMs: slow } });
    expect(told.failure?.message).toContain('first-token time-out');
  });

  test('a stall between tokens', async () => {
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        response.write(chunkEvent({ content: 'half' }));
      },
      { timeouts: { betweenTokensMs: slow } },
    );
    expect(textOf(told.events)).toBe('half');
    expect(told.failure?.message).toContain('time-out between tokens');
  });

  test('an endless answer', async () => {
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        const pace = setInterval(() => response.write(chunkEvent({ content: 'more ' })), 5);
        response.on('close', () => clearInterval(pace));
      },
      { timeouts: { wholeMs: 100 } },
    );
    expect(told.failure?.message).toContain('whole-answer time-out');
  });

  test('reasoning counts as the first token', async () => {
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        response.write(chunkEvent({ reasoning_content: 'thinking' }));
        setTimeout(() => response.end(chunkEvent({ content: 'yes' }, 'stop') + doneEvent), 600);
      },
      { timeouts: { firstTokenMs: 300 } },
    );
    expect(told.end?.finish).toBe('stop');
  });

  test('a missing end marker after the finish is no time-out', async () => {
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        response.write(chunkEvent({ content: 'yes' }, 'stop'));
      },
      { timeouts: { betweenTokensMs: slow } },
    );
    expect(told.end?.finish).toBe('stop');
  });

  test('a reader that takes its time is not the stall of the backend', async () => {
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        response.write(chunkEvent({ content: 'one' }));
        response.end(chunkEvent({ content: 'two' }, 'stop') + doneEvent);
      },
      { timeouts: { betweenTokensMs: slow }, onEvent: () => sleep(slow * 3) },
    );
    expect(textOf(told.events)).toBe('onetwo');
    expect(told.end?.finish).toBe('stop');
  });
});

describe('backpressure', () => {
  test('a slow reader stops the reading, and loses and reorders nothing', async () => {
    let written = 0;
    const count = 3_000;
    const pad = 'x'.repeat(4_000);
    let open: (() => void) | undefined;
    let wasStoppedAt = 0;
    let inside = 0;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const seen: number[] = [];
    const told = await askScripted(
      async (_request, response) => {
        streamHead(response);
        for (; written < count; written++) {
          if (!response.write(chunkEvent({ content: `${written}:${pad}` }))) await once(response, 'drain');
        }
        response.end(chunkEvent({}, 'stop') + doneEvent);
      },
      {
        onEvent: async (event) => {
          expect(inside++).toBe(0);
          if (event.type === 'text') seen.push(Number(event.text.split(':')[0]));
          if (seen.length === 1) {
            // The server is stuck once the buffers of both sockets are full.
            for (let last = -1; last !== written;) {
              last = written;
              await sleep(200);
            }
            wasStoppedAt = written;
            open?.();
          }
          await gate;
          inside--;
        },
      },
    );
    expect(told.end?.finish).toBe('stop');
    expect(wasStoppedAt).toBeLessThan(count);
    expect(seen).toEqual(Array.from({ length: count }, (_, nth) => nth));
  });

  test('what the reader throws comes out as it is, and the connection is destroyed', async () => {
    let whenClosed: Promise<unknown> | undefined;
    const asked = askScripted(
      (request, response) => {
        whenClosed = once(request.socket, 'close');
        streamHead(response);
        response.write(chunkEvent({ content: 'x' }));
      },
      {
        onEvent: () => {
          throw new RangeError('the reader broke');
        },
      },
    );
    await expect(asked).rejects.toThrow(RangeError);
    await whenClosed;
  });
});

describe('cancelling', () => {
  /** Milliseconds from abort until the server saw its connection close. */
  async function abortAfter(answer: (response: ServerResponse) => void, ready: (events: number) => boolean) {
    const controller = new AbortController();
    let abortedMs = 0;
    let closedMs = 0;
    let whenClosed: Promise<unknown> | undefined;
    const abort = () => {
      abortedMs = performance.now();
      controller.abort();
    };
    const told = await askScripted(
      async (request, response) => {
        request.socket.once('close', () => (closedMs = performance.now()));
        whenClosed = once(request.socket, 'close');
        answer(response);
        if (ready(0)) abort();
        await whenClosed;
      },
      { signal: controller.signal, onEvent: () => (ready(1) ? abort() : undefined) },
    );
    await whenClosed;
    return { told, spentMs: closedMs - abortedMs };
  }

  test.each([
    ['before the headers', () => undefined, (events: number) => events === 0],
    [
      'in the middle',
      (response: ServerResponse) => {
        streamHead(response);
        response.write(chunkEvent({ content: 'x' }));
      },
      (events: number) => events > 0,
    ],
  ])('%s destroys the connection within 100 ms', async (_when, answer, ready) => {
    const { told, spentMs } = await abortAfter(answer, ready);
    expect(told.failure?.kind).toBe('aborted');
    expect(spentMs).toBeLessThan(100);
  });

  test('while the reader holds the stream back ends at once', async () => {
    const controller = new AbortController();
    const told = await askScripted(
      (_request, response) => {
        streamHead(response);
        response.write(chunkEvent({ content: 'x' }));
      },
      {
        signal: controller.signal,
        onEvent: () => {
          setImmediate(() => controller.abort());
          return new Promise<void>(() => undefined);
        },
      },
    );
    expect(told.failure?.kind).toBe('aborted');
  });

  test('a connection whose request was cancelled never serves another; one whose answer is over does', async () => {
    await using server = await scriptedBackend((_request, response, nth) => {
      if (nth > 0) {
        answerText(response, 'fresh');
        return;
      }
      streamHead(response);
      response.write(chunkEvent({ content: 'stale' }));
    });
    const backend = openOpenAiBackend({ name: 'main', kind: 'openai-compatible', url: server.url, model: 'm' });
    const controller = new AbortController();
    const first = backend.answer(hello, { event: () => controller.abort() }, timeouts, controller.signal);
    await expect(first).rejects.toMatchObject({ kind: 'aborted' });
    for (let turn = 0; turn < 4; turn++) {
      const events: ModelEvent[] = [];
      const sink = { event: (event: ModelEvent) => void events.push(event) };
      await backend.answer(hello, sink, timeouts, new AbortController().signal);
      expect(textOf(events)).toBe('fresh');
      await sleep(20);
    }
    await backend.close();
    const [cancelled, ...others] = server.requests.map((request) => request.socket);
    expect(others).not.toContain(cancelled);
    expect(new Set(others).size).toBeLessThan(others.length);
  });

  test('before it was asked sends nothing', async () => {
    const told = await askScripted((_request, response) => answerText(response, 'x'), { signal: AbortSignal.abort() });
    expect(told.failure?.kind).toBe('aborted');
    expect(told.requests).toHaveLength(0);
  });
});

describe('probing', () => {
  test('lists the models', async () => {
    await using server = await scriptedBackend((_request, response) => {
      response.end(JSON.stringify({ object: 'list', data: [{ id: 'a' }, { id: 'b' }] }));
    });
    const backend = openOpenAiBackend({ name: 'main', kind: 'openai-compatible', url: server.url, model: 'a' });
    expect(await backend.probe(new AbortController().signal)).toEqual({ models: ['a', 'b'] });
    expect(server.requests[0]?.path).toBe('/v1/models');
    await backend.close();
  });

  test.each([
    [401, 'misconfigured'],
    [500, 'server'],
    [301, 'misconfigured'],
  ])('tells status %i as %s', async (status, kind) => {
    await using server = await scriptedBackend((_request, response) => {
      response.writeHead(status, { location: 'http://127.0.0.1:9/' }).end('{}');
    });
    const backend = openOpenAiBackend({ name: 'main', kind: 'openai-compatible', url: server.url, model: 'a' });
    await expect(backend.probe(new AbortController().signal)).rejects.toMatchObject({ kind });
    await backend.close();
  });

  test('can be cancelled', async () => {
    await using server = await scriptedBackend(() => undefined);
    const backend = openOpenAiBackend({ name: 'main', kind: 'openai-compatible', url: server.url, model: 'a' });
    await expect(backend.probe(AbortSignal.timeout(50))).rejects.toMatchObject({ kind: 'aborted' });
    await backend.close();
  });
});

test('log probabilities without end are left out, and the answer goes on', async () => {
  const entry = { token: 'a'.repeat(900_000), logprob: 0 };
  const choice = { index: 0, delta: { content: 'a' }, logprobs: { content: [entry] }, finish_reason: null };
  const told = await askScripted(async (_request, response) => {
    streamHead(response);
    for (let count = 0; count < 24; count += 1) {
      if (!response.write(`data: ${JSON.stringify({ choices: [choice] })}\n\n`)) await once(response, 'drain');
    }
    response.end(chunkEvent({}, 'stop') + doneEvent);
  });
  expect(told.end?.finish).toBe('stop');
  expect(told.events).toHaveLength(24);
  expect(told.events.filter((event) => 'logprobs' in event)).toHaveLength(18);
});

describe('a configuration that cannot work is refused when it is opened', () => {
  const good = { name: 'main', kind: 'openai', url: 'https://api.example.com/v1', model: 'm' } as const;
  test.each([
    ['no address', { ...good, url: 'api.example.com' }],
    ['another protocol', { ...good, url: 'file:///etc/passwd' }],
    ['a credential in the address', { ...good, url: 'https://user:pass@api.example.com/v1' }],
    ['no model', { ...good, model: undefined }],
    ['a key with a line break', { ...good, apiKey: 'abc\r\nx-evil: 1' }],
    [
      'Azure without a version',
      { ...good, kind: 'azure-openai' as const, url: 'https://x.example.com', deployment: 'd' },
    ],
  ])('%s', (_what, options) => {
    expect(() => openOpenAiBackend(options)).toThrow(expect.objectContaining({ code: 'config_invalid' }));
  });
});
