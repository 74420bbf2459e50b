import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startPostgres, type TestPostgres } from '#test/postgres';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const assistant = 'guide';

let postgres: TestPostgres;
let simulator: ModelSimulator;
let env: Record<string, string>;
/** Two nodes over one database, which share a root key and nothing else. */
let one: UsherProcess;
let two: UsherProcess;
let key: { key: string; id: string };
let declared: ReturnType<typeof usherFiles>;

beforeAll(async () => {
  [postgres, simulator] = await Promise.all([startPostgres(), startModelSimulator()]);
  env = { USHER_TEST_DATABASE: await postgres.freshDatabase(), USHER_TEST_ROOT: randomBytes(32).toString('base64') };
  declared = usherFiles([simulator.baseUrl], {
    assistants: { [assistant]: {} },
    config: {
      storage: { kind: 'postgres', url: { env: 'USHER_TEST_DATABASE' }, poolMax: 4 },
      vault: { rootKeys: [{ env: 'USHER_TEST_ROOT' }] },
    },
  });
  one = await startUsher({ ...declared, env });
  two = await startUsher({ ...declared, env });
  key = await usherCommand('create', '--name', 'both');
});
beforeEach(() => simulator.clear());
afterAll(async () => {
  await Promise.all([one?.stop(), two?.stop()]);
  await Promise.all([postgres?.stop(), simulator?.stop()]);
});

async function usherCommand<T>(...args: readonly string[]): Promise<T> {
  const where = ['--config', join(one.home, 'usher.yaml'), '--data', join(one.home, 'cli')];
  const json = args[0] === 'revoke' ? [] : ['--json'];
  const { stdout } = await promisify(execFile)(process.execPath, [launcher, 'keys', ...args, ...json, ...where], {
    env: { ...process.env, ...env },
  });
  return (json.length === 0 ? undefined : JSON.parse(stdout)) as T;
}

function clientOf(node: UsherProcess, apiKey = key.key): OpenAI {
  return new OpenAI({ baseURL: `${node.url}/v1`, apiKey, maxRetries: 0 });
}

describe('two nodes over one PostgreSQL', () => {
  test(
    'one that is killed in the middle of an answer has lost nothing, and the other makes that answer to its end',
    { timeout: 60_000 },
    async () => {
      const client = clientOf(two);
      const lost = { response: '', conversation: '' };
      const { id: conversation } = await client.conversations.create();
      const acknowledged = new Map<string, string>();
      for (const word of ['first', 'second']) {
        const made = await client.responses.create({ model: assistant, conversation, input: `[[sim:say ${word}]]` });
        acknowledged.set(made.id, made.output_text);
      }
      await simulator.plan({ tokens: 200, tokenMs: 10 });
      const stream = await client.responses.create({
        model: assistant,
        conversation,
        input: 'the long one',
        stream: true,
      });
      const reading = (async () => {
        let pieces = 0;
        for await (const event of stream) {
          if (event.type === 'response.created') lost.response = event.response.id;
          if (event.type === 'response.output_text.delta' && (pieces += 1) === 10) await two.kill();
        }
      })();
      await expect(reading).rejects.toThrow();
      lost.conversation = conversation;
      // The other node knows all of it at once; that the killed one is lost, only time can tell it.
      expect(await clientOf(one).responses.retrieve(lost.response)).toMatchObject({ status: 'in_progress' });
      const state = async () => (await clientOf(one).responses.retrieve(lost.response)).status;
      // A lease of 5 s; the rest is what a loaded machine may add.
      await expect.poll(state, { timeout: 30_000, interval: 250 }).toBe('completed');
      expect(await spoken(one, lost.conversation)).toBe('Back again');
      await two.restart();
      for (const node of [one, two]) {
        for (const [id, text] of acknowledged) {
          expect(await clientOf(node).responses.retrieve(id)).toMatchObject({ status: 'completed', output_text: text });
        }
      }
    },
  );

  test('a conversation begun on one goes on at the other, and both know all that was said', async () => {
    const { id: conversation } = await clientOf(one).conversations.create();
    const first = await clientOf(one).responses.create({
      model: assistant,
      conversation,
      input: 'I am Ophelia. [[sim:say Welcome]]',
    });
    const second = await clientOf(two).responses.create({
      model: assistant,
      conversation,
      input: 'Who am I? [[sim:say Ophelia]]',
    });
    const { requests } = await simulator.log();
    expect(JSON.stringify(requests.at(-1)?.body)).toContain('I am Ophelia.');
    for (const node of [one, two]) {
      expect(await clientOf(node).responses.retrieve(first.id)).toEqual(first);
      expect(await clientOf(node).responses.retrieve(second.id)).toEqual(second);
      expect((await clientOf(node).conversations.items.list(conversation)).data).toHaveLength(4);
    }
  });

  test('a second turn of a conversation is refused by the other node while one runs', async () => {
    const { id: conversation } = await clientOf(one).conversations.create();
    await simulator.plan({ fault: { kind: 'hang' } });
    const running = clientOf(one).responses.create({ model: assistant, conversation, input: 'slow' });
    await simulator.until((log) => log.totals.active === 1);
    const impatient = clientOf(two).responses.create({ model: assistant, conversation, input: 'impatient' });
    await expect(impatient).rejects.toMatchObject({ status: 400, code: 'conversation_locked', param: 'conversation' });
    await simulator.control({ do: 'release' });
    await running;
    const next = await clientOf(two).responses.create({ model: assistant, conversation, input: '[[sim:say Now]]' });
    expect(next.output_text).toBe('Now');
  });

  test('a key that is revoked by command is refused by the next request to either', async () => {
    const made = await usherCommand<{ key: string; id: string }>('create', '--name', 'short');
    for (const node of [one, two]) await clientOf(node, made.key).models.list();
    await usherCommand('revoke', made.id);
    for (const node of [one, two]) {
      await expect(clientOf(node, made.key).models.list()).rejects.toMatchObject({
        status: 401,
        code: 'invalid_api_key',
      });
    }
  });

  test('a third node with another root key, or without the database, does not start and says why', async () => {
    const strange = { ...env, USHER_TEST_ROOT: randomBytes(32).toString('base64') };
    await expect(startUsher({ ...declared, env: strange })).rejects.toThrow(
      /usher: .*sealed under root key .*Start with the root key that this database was used with/,
    );
    const nowhere = { ...env, USHER_TEST_DATABASE: 'postgres://postgres@127.0.0.1:1/nowhere' };
    await expect(startUsher({ ...declared, env: nowhere })).rejects.toThrow(
      /usher: PostgreSQL cannot be reached\. Check/,
    );
  });

  test(
    'a database that is away for a moment is told as such, and used again as soon as it is back',
    { timeout: 60_000 },
    async () => {
      const { id: conversation } = await clientOf(one).conversations.create();
      await simulator.plan({ fault: { kind: 'hang' } });
      const caught = clientOf(one)
        .responses.create({ model: assistant, conversation, input: 'in the middle' })
        .catch((error: unknown) => error);
      await simulator.until((log) => log.totals.active === 1);
      await postgres.crash();
      await simulator.control({ do: 'release' });
      // What cannot be committed is not called completed.
      expect(await caught).toMatchObject({ status: 503, code: 'storage_unavailable' });
      for (const node of [one, two]) {
        await expect(clientOf(node).models.list()).rejects.toMatchObject({ status: 503, code: 'storage_unavailable' });
        await expect.poll(() => ready(node), { timeout: 10_000 }).toBe(503);
      }
      await postgres.start();
      for (const node of [one, two]) {
        await expect.poll(() => ready(node), { timeout: 10_000 }).toBe(200);
        expect((await clientOf(node).models.list()).data).toHaveLength(2);
      }
      // The broken turn is made once more as soon as its lease is over, and the conversation goes on.
      await expect.poll(() => spoken(two, conversation), { timeout: 30_000 }).toBe('Back again');
      expect(one.logs() + two.logs()).not.toContain('"msg":"unexpected error"');
    },
  );
});

async function ready(node: UsherProcess): Promise<number> {
  return (await fetch(`${node.url}/readyz`)).status;
}

/** What the next message in a conversation is answered, or why not. */
async function spoken(node: UsherProcess, conversation: string): Promise<string> {
  const asked = { model: assistant, conversation, input: '[[sim:say Back again]]' };
  try {
    return (await clientOf(node).responses.create(asked)).output_text;
  } catch (error) {
    return String(error);
  }
}
