import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const assistant = 'guide';
const serverKey = 'sk-of-the-embedding-server-1234';

let simulator: ModelSimulator;
let usher: UsherProcess;
let keys: Record<'open' | 'frugal' | 'narrow', string>;
let client: OpenAI;

beforeAll(async () => {
  simulator = await startModelSimulator({ apiKeys: [serverKey] });
  const assistants = [{ name: assistant, folder: `./${assistant}` }];
  const shared = { kind: 'openai-compatible', url: simulator.baseUrl, key: { env: 'VECTORS_KEY' } };
  const { config, files } = usherFiles([simulator.baseUrl], {
    assistants: { [assistant]: {} },
    config: {
      embeddings: [
        { ...shared, name: 'text-embedding-small', model: 'simulated' },
        { ...shared, name: 'nomic-embed:v1.5' },
      ],
      tenants: [
        { id: 'open', assistants, limits: { requestsPerMinute: 10_000, concurrency: 100 } },
        { id: 'frugal', assistants, limits: { requestsPerMinute: 2, concurrency: 100 } },
        { id: 'narrow', assistants, limits: { requestsPerMinute: 10_000, concurrency: 1 } },
      ],
    },
  });
  usher = await startUsher({ config, files, env: { VECTORS_KEY: serverKey } });
  keys = { open: usher.apiKey, frugal: await keyOf('frugal'), narrow: await keyOf('narrow') };
  client = clientOf(keys.open);
});
beforeEach(async () => {
  await simulator.clear();
  await simulator.control({ do: 'forget' });
});
afterAll(async () => {
  await usher?.stop();
  await simulator?.stop();
});

const clientOf = (apiKey: string): OpenAI => new OpenAI({ baseURL: `${usher.url}/v1`, apiKey, maxRetries: 0 });

async function command(...words: string[]): Promise<string> {
  const where = ['--config', join(usher.home, 'usher.yaml'), '--data', usher.dataDir];
  const env = { ...process.env, VECTORS_KEY: serverKey };
  const { stdout } = await promisify(execFile)(process.execPath, [launcher, ...words, '--json', ...where], { env });
  return stdout;
}

async function keyOf(tenant: string): Promise<string> {
  return (JSON.parse(await command('keys', 'create', '--tenant', tenant)) as { key: string }).key;
}

const model = 'text-embedding-small';

describe("with OpenAI's own client", () => {
  test('vectors are the same as the model gave, whether they travel as base64 or as numbers', async () => {
    const input = ['Which row is mine?', 'Is my row near the stage?', 'Bring an umbrella.'];
    // Left to itself the client asks for base64, and decodes it.
    const packed = await client.embeddings.create({ model, input });
    const written = await client.embeddings.create({ model, input, encoding_format: 'float' });
    expect(packed).toEqual(written);
    expect(packed).toMatchObject({ object: 'list', model, data: [{ index: 0 }, { index: 1 }, { index: 2 }] });
    expect(packed.usage.prompt_tokens).toBeGreaterThan(0);
    expect(packed.usage.total_tokens).toBe(packed.usage.prompt_tokens);
    const [mine, near, umbrella] = packed.data.map(({ embedding }) => embedding);
    const likeness = (one: number[], other: number[]): number =>
      one.reduce((sum, number, at) => sum + number * other[at]!, 0);
    expect(likeness(mine!, near!)).toBeGreaterThan(likeness(mine!, umbrella!));
    const own = new OpenAI({ baseURL: simulator.baseUrl, apiKey: serverKey });
    const direct = await own.embeddings.create({ model: 'simulated', input });
    expect(packed.data).toEqual(direct.data);
  });

  test('one text, as long as it is asked for, and nothing of the caller goes on to the server', async () => {
    const { data } = await client.embeddings.create({ model, input: 'row', dimensions: 32, user: 'ophelia' });
    expect(data).toHaveLength(1);
    expect(data[0]!.embedding).toHaveLength(32);
    const { requests } = await simulator.log();
    expect(requests.at(-1)?.body).toEqual({
      model: 'simulated',
      input: ['row'],
      encoding_format: 'base64',
      dimensions: 32,
    });
    expect(JSON.stringify(requests.at(-1)?.headers)).not.toContain(keys.open);
  });

  test('as many texts as the wire takes, in several requests to the server', async () => {
    const input = Array.from({ length: 2048 }, (_, at) => `seat ${at}`);
    const { data } = await client.embeddings.create({ model, input, dimensions: 8 });
    expect(data.map(({ index }) => index)).toEqual(input.map((_, at) => at));
    expect((await simulator.log()).requests).toHaveLength(8);
    const last = await client.embeddings.create({ model, input: input[2047]!, dimensions: 8 });
    expect(data[2047]?.embedding).toEqual(last.data[0]?.embedding);
  });

  test('the models are listed beside the assistants, and found by name', async () => {
    const listed = await client.models.list();
    expect(listed.data.map(({ id }) => id)).toEqual([
      assistant,
      `${assistant}@production`,
      'text-embedding-small',
      'nomic-embed:v1.5',
    ]);
    expect(await client.models.retrieve('nomic-embed:v1.5')).toMatchObject({ id: 'nomic-embed:v1.5', object: 'model' });
    const { data } = await client.embeddings.create({ model: 'nomic-embed:v1.5', input: 'row' });
    expect(data).toHaveLength(1);
    expect((await simulator.log()).requests.at(-1)?.body).toMatchObject({ model: 'nomic-embed:v1.5' });
  });
});

describe('is refused, with what to mend', () => {
  const create = (body: object): Promise<unknown> => client.post('/embeddings', { body: { model, ...body } });

  test.each([
    ['a model that there is not', { model: 'text-embeding-small', input: 'x' }, 404, 'model', /Did you mean "text-emb/],
    [
      'an assistant',
      { model: assistant, input: 'x' },
      404,
      'model',
      /Embedding models here: text-.*, nomic-embed:v1.5/,
    ],
    ['no text', {}, 400, 'input', /must be given: a string or a list/],
    ['an empty text', { input: '' }, 400, 'input', /must have at least 1 character/],
    ['no texts', { input: [] }, 400, 'input', /must have at least 1 entry/],
    ['an empty text among others', { input: ['x', ''] }, 400, 'input[1]', /must have at least 1 character/],
    ['too many', { input: Array(2049).fill('x') }, 400, 'input', /must have at most 2048 entries/],
    ['tokens', { input: [1212, 318] }, 400, 'input[0]', /must be text, not tokens: send the texts themselves/],
    ['lists of tokens', { input: [[1212], [318]] }, 400, 'input[0]', /must be text, not tokens/],
    ['no dimensions', { input: 'x', dimensions: 0 }, 400, 'dimensions', /must be at least 1/],
    ['another form', { input: 'x', encoding_format: 'int8' }, 400, 'encoding_format', /"float" or "base64"/],
  ])('%s', async (_name, body, status, param, message) => {
    await expect(create(body)).rejects.toMatchObject({ status, param, message: expect.stringMatching(message) });
    expect((await simulator.log()).requests).toHaveLength(0);
  });

  test('a person with a token of their own', async () => {
    const { token } = await client.post<{ token: string }>('/user_tokens', { body: { assistant, subject: 'ophelia' } });
    const person = clientOf(token);
    await expect(person.embeddings.create({ model, input: 'x' })).rejects.toMatchObject({ status: 403 });
    const listed = await person.models.list();
    expect(listed.data.map(({ id }) => id)).toEqual([assistant, `${assistant}@production`]);
    await expect(person.models.retrieve(model)).rejects.toMatchObject({ status: 404 });
    expect((await simulator.log()).requests).toHaveLength(0);
  });

  test('whoever sends no key', async () => {
    await expect(clientOf('none').embeddings.create({ model, input: 'x' })).rejects.toMatchObject({ status: 401 });
  });

  test.each([
    ['429 retry-after-ms=7000', 429, 'rate_limit_exceeded'],
    ['500', 502, 'backend_broken'],
    ['401', 503, 'backend_unavailable'],
    ['context_length_exceeded', 400, 'context_length_exceeded'],
    ['status 422', 400, 'backend_refused'],
  ])('what the server will not do: %s', async (fault, status, code) => {
    await simulator.planAll(`[[sim:${fault}]]`);
    const failure = await client.embeddings.create({ model, input: 'x' }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ status, code });
    if (status === 429) expect((failure as { headers: Headers }).headers.get('retry-after-ms')).toBe('7000');
    expect((failure as Error).message).not.toContain(simulator.url);
    await simulator.clear();
    await client.embeddings.create({ model, input: 'x' });
  });
});

describe('counts against the limits of its own tenant', () => {
  test('requests per minute, and no other tenant feels it', async () => {
    const frugal = clientOf(keys.frugal);
    for (let sent = 0; sent < 2; sent += 1) await frugal.embeddings.create({ model, input: 'x' });
    await expect(frugal.embeddings.create({ model, input: 'x' })).rejects.toMatchObject({
      status: 429,
      message: expect.stringContaining("The tenant's limit of requests per minute is reached."),
    });
    expect((await simulator.log()).requests).toHaveLength(2);
    await client.embeddings.create({ model, input: 'x' });
  });

  test('who leaves lets go of the server, and of the place', async () => {
    const narrow = clientOf(keys.narrow);
    await simulator.planAll('[[sim:hang]]');
    const leaving = new AbortController();
    const held = narrow.embeddings.create({ model, input: 'x' }, { signal: leaving.signal }).catch(() => 'left');
    await simulator.until(({ totals }) => totals.active === 1);
    await expect(narrow.embeddings.create({ model, input: 'x' })).rejects.toMatchObject({ status: 429 });
    leaving.abort();
    expect(await held).toBe('left');
    await simulator.until(({ requests }) => requests.at(-1)?.end === 'aborted');
    await simulator.clear();
    await expect
      .poll(() => narrow.embeddings.create({ model, input: 'x' }).then(() => 'served', String), { timeout: 5000 })
      .toBe('served');
  });
});

test('the doctor asks each model for a vector, and the metrics count them', async () => {
  const findings = JSON.parse(await command('doctor').catch(({ stdout }: { stdout: string }) => stdout)) as {
    subject: string;
    says: string;
  }[];
  expect(findings.find(({ subject }) => subject === model)).toMatchObject({
    state: 'ok',
    says: `simulated at ${new URL(simulator.url).host} gives vectors of 256 numbers`,
  });
  const metrics = await (await fetch(`${usher.url}/metrics`)).text();
  expect(metrics).toMatch(
    /usher_embedding_requests_total\{tenant="frugal",model="text-embedding-small",result="done"\} 2/,
  );
  expect(metrics).toMatch(/usher_embedding_requests_total\{tenant="narrow",.*result="aborted"\} 1/);
  expect(usher.logs()).not.toContain(serverKey);
  expect(usher.logs()).not.toContain('umbrella');
});
