import { once } from 'node:events';
import { readdir, stat } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;

beforeAll(async () => {
  simulator = await startModelSimulator();
  const assistants = {
    guide: {},
    desk: { spec: { limits: { turnsPerMinutePerUser: 3, inputCharacters: 100 }, page: { access: 'token' } } },
  };
  usher = await startUsher(usherFiles([simulator.baseUrl], { assistants }));
});
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

async function send(target: string, credential: string | undefined, body?: string | object): Promise<Reply> {
  const [method, path] = target.split(' ') as [string, string];
  const answer = await fetch(usher.url + path, {
    method,
    headers: {
      'content-type': 'application/json',
      ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.status, body: await answer.json() };
}

/** The answer as it came, of a stream too. */
async function textOf(target: string, credential: string): Promise<string> {
  const [method, path] = target.split(' ') as [string, string];
  return (await fetch(usher.url + path, { method, headers: { authorization: `Bearer ${credential}` } })).text();
}

/** A stranger who has opened the page of a public assistant. */
async function visitor(): Promise<string> {
  const { body } = await send('POST /chat/guide/visit', undefined, {});
  return (body as { token: string }).token;
}

/** A person whom the application knows, at the page of one assistant. */
async function person(subject: string, assistant: string): Promise<string> {
  const { body } = await send('POST /v1/user_tokens', usher.apiKey, { assistant, subject });
  return (body as { token: string }).token;
}

describe('A visitor whom nobody knows', () => {
  test('cannot exhaust the server with one body that is small to send and large to hold', async () => {
    const values = '0,'.repeat(5_000_000);
    const bomb = `{"model":"guide","input":[${values}0]}`;
    expect(await send('POST /v1/responses', await visitor(), bomb)).toMatchObject({
      status: 413,
      body: { error: { message: expect.stringContaining('values') } },
    });
    expect(await send('GET /livez', undefined)).toMatchObject({ status: 200 });
  });

  test('has fewer values in a body than an application, whose wrong ones are looked at', async () => {
    const body = `{"model":"guide","input":[${'0,'.repeat(3000)}0]}`;
    expect(await send('POST /v1/responses', await visitor(), body)).toMatchObject({ status: 413 });
    expect(await send('POST /v1/responses', usher.apiKey, body)).toMatchObject({ status: 400 });
  });
});

describe('A person at the page', () => {
  const spoken = (content: unknown): { items: object[] } => ({ items: [{ type: 'message', role: 'user', content }] });

  test('reaches with a token for one assistant nothing of theirs with another', async () => {
    const guide = await person('p-1', 'guide');
    const desk = await person('p-1', 'desk');
    const conversation = ((await send('POST /v1/conversations', guide, {})).body as { id: string }).id;
    const asked = { model: 'guide', conversation, input: 'Where is row seven?' };
    const { id: response, output } = (await send('POST /v1/responses', guide, asked)).body as {
      id: string;
      output: { id: string }[];
    };
    const targets = [
      ...['GET', 'DELETE'].flatMap((method) => [
        `${method} /v1/conversations/${conversation}`,
        `${method} /v1/responses/${response}`,
        `${method} /v1/conversations/${conversation}/items/${output[0]?.id}`,
      ]),
      `GET /v1/conversations/${conversation}/items`,
      `GET /v1/responses/${response}/input_items`,
    ];
    for (const target of targets) expect([target, (await send(target, desk)).status]).toEqual([target, 404]);
    const asks = [
      ['POST /v1/responses', { model: 'desk', conversation, input: 'hello' }],
      [`POST /v1/conversations/${conversation}`, { metadata: {} }],
      [`POST /v1/conversations/${conversation}/items`, spoken('hello')],
      ['POST /chat/desk/feedback', { response, rating: 'up' }],
    ] as const;
    for (const [target, body] of asks) {
      expect([target, (await send(target, desk, body)).status]).toEqual([target, 404]);
    }
    const following = { model: 'desk', previous_response_id: response, input: 'hello' };
    expect(await send('POST /v1/responses', desk, following)).toMatchObject({ status: 400 });
    expect(await send(`GET /v1/responses/${response}`, guide)).toMatchObject({ status: 200 });
    expect(await send(`GET /v1/conversations/${conversation}`, guide)).toMatchObject({ status: 200 });
  });

  test('begins a conversation with their assistant, which no other reaches before its first turn either', async () => {
    const guide = await person('p-5', 'guide');
    const desk = await person('p-5', 'desk');
    const { id } = (await send('POST /v1/conversations', guide, { items: spoken('hello').items })).body as {
      id: string;
    };
    for (const target of [`GET /v1/conversations/${id}`, `GET /v1/conversations/${id}/items`]) {
      expect([target, (await send(target, desk)).status]).toEqual([target, 404]);
      expect([target, (await send(target, guide)).status]).toEqual([target, 200]);
    }
    const ask = (credential: string, model: string): Promise<Reply> =>
      send('POST /v1/responses', credential, { model, conversation: id, input: 'Where is row seven?' });
    expect(await ask(desk, 'desk')).toMatchObject({ status: 404 });
    expect(await ask(usher.apiKey, 'desk')).toMatchObject({ status: 400, body: { error: { param: 'model' } } });
    expect((await send('GET /chat/guide/conversations', guide)).body).toMatchObject({ conversations: [] });
    expect(await ask(guide, 'guide')).toMatchObject({ status: 200 });
    expect((await send('GET /chat/guide/conversations', guide)).body).toMatchObject({ conversations: [{ id }] });
  });

  test('is shown nothing of what the application told the model beside them', async () => {
    const secret = 'THE-MARGIN-IS-FORTY-PERCENT';
    const token = await person('p-6', 'guide');
    const about = { safety_identifier: 'p-6' };
    const standing = [{ type: 'message', role: 'developer', content: secret }];
    const made = (await send('POST /v1/conversations', usher.apiKey, { ...about, items: standing })).body;
    const { id: conversation } = made as { id: string };
    const tool = { type: 'function', name: 'price', description: secret, parameters: { type: 'object' } };
    const asked = {
      ...about,
      model: 'guide',
      conversation,
      instructions: secret,
      tools: [tool],
      text: { format: { type: 'json_schema', name: 'prices', description: secret, schema: { description: secret } } },
      input: [
        { role: 'system', content: secret },
        { role: 'user', content: 'Where is row seven?' },
      ],
    };
    const { id } = (await send('POST /v1/responses', usher.apiKey, asked)).body as { id: string };
    const items = `GET /v1/conversations/${conversation}/items`;
    const { data } = (await send(items, usher.apiKey)).body as { data: { id: string; role: string }[] };
    const hidden = data.filter(({ role }) => role === 'developer' || role === 'system');
    expect(hidden).toHaveLength(2);
    const responses = `GET /v1/responses/${id}`;
    const targets = [
      items,
      `${responses}/input_items`,
      responses,
      `POST /v1/responses/${id}/cancel`,
      `GET /chat/guide/conversations/${conversation}`,
      ...hidden.map((item) => `${items}/${item.id}`),
    ];
    for (const target of targets) {
      const text = await textOf(target, token);
      expect([target, text.includes(secret), text.includes('"error":{')]).toEqual([target, false, false]);
    }
    const again = await textOf(`${responses}?stream=true`, token);
    expect(again).toContain('response.completed');
    expect(again).not.toContain(secret);
    for (const target of [items, `${responses}/input_items`, responses, `${responses}?stream=true`]) {
      expect(await textOf(target, usher.apiKey)).toContain(secret);
    }
    // Ids of items stay, so that pages of them mean the same to both.
    const shown = (await send(items, token)).body as { data: { id: string; content: unknown[] }[] };
    expect(shown.data.map((item) => item.id)).toEqual(data.map((item) => item.id));
    const page = (await send(`GET /chat/guide/conversations/${conversation}`, token)).body;
    expect((page as { items: { role: string }[] }).items.map(({ role }) => role).toSorted()).toEqual([
      'assistant',
      'user',
    ]);
  });

  test("cannot make the model's server fetch an address", async () => {
    const token = await person('p-2', 'guide');
    const content = (url: string): object[] => [
      { type: 'input_text', text: 'What is this?' },
      { type: 'input_image', image_url: url },
    ];
    for (const url of ['http://169.254.169.254/latest/meta-data', 'https://example.org/a.png']) {
      const input = [{ role: 'user', content: content(url) }];
      expect(await send('POST /v1/responses', token, { model: 'guide', input })).toMatchObject({ status: 403 });
      expect(await send('POST /v1/conversations', token, spoken(content(url)))).toMatchObject({ status: 403 });
    }
    const input = [{ role: 'user', content: content('data:image/png;base64,AAAA') }];
    expect(await send('POST /v1/responses', token, { model: 'guide', input })).toMatchObject({ status: 200 });
  });

  test('may have kept without an answer no more, and no more often, than they may ask', async () => {
    const token = await person('p-3', 'desk');
    const begin = (body: object): Promise<Reply> => send('POST /v1/conversations', token, body);
    expect(await begin(spoken('a'.repeat(101)))).toMatchObject({ status: 413 });
    const { id } = (await begin({})).body as { id: string };
    expect(await send(`POST /v1/conversations/${id}/items`, token, spoken('hello'))).toMatchObject({ status: 200 });
    expect(await send(`POST /v1/conversations/${id}/items`, token, spoken('hello'))).toMatchObject({ status: 429 });
    expect(await begin({})).toMatchObject({ status: 429 });
    const asked = { model: 'desk', conversation: id, input: 'Where is row seven?' };
    expect(await send('POST /v1/responses', token, asked)).toMatchObject({ status: 200 });
  });

  test('cannot have kept beside a message what is longer than a message may be', async () => {
    const token = await person('p-4', 'guide');
    const asked = { model: 'guide', input: 'Where is row seven?', text: { padding: 'x'.repeat(1_000_000) } };
    expect(await send('POST /v1/responses', token, asked)).toMatchObject({ status: 413 });
    const metadata = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`${n}`, 'é'.repeat(512)]));
    const full = { model: 'guide', input: 'Where is row seven?', metadata };
    expect(await send('POST /v1/responses', token, full)).toMatchObject({ status: 200 });
  });

  test('cannot be named as an application is where it names nobody', async () => {
    const asked = { assistant: 'guide', subject: 'app:key_00000000000000000000000000000000' };
    expect(await send('POST /v1/user_tokens', usher.apiKey, asked)).toMatchObject({ status: 400 });
  });
});

describe('What only the operator on this machine may read without a key', () => {
  test('stays closed to a page that rebinds its name, one of another origin, and what a proxy passes on', async () => {
    const { config, files } = usherFiles([simulator.baseUrl]);
    await using open = await startUsher({ config, files, args: ['--host', '0.0.0.0'] });
    const { port } = new URL(open.url);
    const ask = async (headers: Readonly<Record<string, string>>): Promise<number | undefined> => {
      const asking = httpRequest({ host: '127.0.0.1', port, path: '/metrics', headers }).end();
      const [answer] = (await once(asking, 'response')) as [IncomingMessage];
      answer.resume();
      return answer.statusCode;
    };
    const own = `127.0.0.1:${port}`;
    expect(await ask({ host: own })).toBe(200);
    expect(await ask({ host: `evil.example:${port}` })).toBe(401);
    expect(await ask({ host: own, origin: 'https://evil.example' })).toBe(401);
    for (const name of ['x-forwarded-for', 'x-real-ip', 'via', 'forwarded']) {
      expect([name, await ask({ host: own, [name]: '1.1 proxy' })]).toEqual([name, 401]);
    }
  });
});

describe('The data folder', () => {
  test.skipIf(process.platform === 'win32')('and every file in it is for its owner alone', async () => {
    const names = await readdir(usher.dataDir, { recursive: true });
    const modes = await Promise.all(
      ['.', ...names].map(async (name) => {
        const { mode } = await stat(join(usher.dataDir, name));
        return `${name} ${(mode & 0o077).toString(8)}`;
      }),
    );
    expect(names).toContain('usher.db-owner');
    expect(modes.filter((line) => !line.endsWith(' 0'))).toEqual([]);
  });
});

/** A model's server that answers as `tell` does, whatever it is asked. */
async function openBackend(
  tell: (response: ServerResponse) => void,
): Promise<{ readonly url: string } & AsyncDisposable> {
  const server = createServer((request, response) => {
    response.on('error', () => undefined);
    request.resume().on('end', () => tell(response));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function chunk(delta: object, finish: string | null = null): string {
  return `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
}

describe("A model's server", () => {
  test('cannot fill the memory with the ids and names of its calls', async () => {
    const calls = Array.from({ length: 100 }, (_, index) =>
      chunk({
        tool_calls: [{ index, id: `${index}-${'i'.repeat(500_000)}`, function: { name: 'seat', arguments: '{}' } }],
      }),
    );
    await using backend = await openBackend((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(calls.join('') + chunk({}, 'tool_calls'));
    });
    await using other = await startUsher(usherFiles([backend.url]));
    const answer = await fetch(`${other.url}/v1/responses`, {
      method: 'POST',
      headers: { authorization: `Bearer ${other.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'usher-test', input: 'Seat them', tools: [{ type: 'function', name: 'seat' }] }),
    });
    expect([answer.status, (await answer.text()).length < 1000]).toEqual([502, true]);
  });

  test('cannot fill the memory with an answer of ever new items', async () => {
    const both = (chunk({ content: 'a' }) + chunk({ refusal: 'b' })).repeat(10_000);
    await using backend = await openBackend((response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(both);
    });
    await using other = await startUsher(usherFiles([backend.url]));
    const answer = await fetch(`${other.url}/v1/responses`, {
      method: 'POST',
      headers: { authorization: `Bearer ${other.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'usher-test', input: 'Where is row seven?' }),
    });
    const {
      status,
      incomplete_details: details,
      output,
    } = (await answer.json()) as {
      status: string;
      incomplete_details: object;
      output: unknown[];
    };
    expect({ status, details }).toEqual({ status: 'incomplete', details: { reason: 'max_output_tokens' } });
    expect(output.length).toBeLessThan(1000);
  });
});

describe('An application', () => {
  test('cannot name a person so that a database would refuse all that is recorded with it', async () => {
    for (const name of ['a\0b', 'a\nb', '\ud800']) {
      for (const field of ['user', 'safety_identifier']) {
        const asked = { model: 'guide', input: 'Where is row seven?', store: false, [field]: name };
        expect(await send('POST /v1/responses', usher.apiKey, asked)).toMatchObject({ status: 400 });
        const chat = { model: 'guide', messages: [{ role: 'user', content: 'Where?' }], [field]: name };
        expect(await send('POST /v1/chat/completions', usher.apiKey, chat)).toMatchObject({ status: 400 });
      }
    }
  });
});
