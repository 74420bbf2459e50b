import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startModelSimulator, type ModelSimulator } from '#test/model-simulator';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let simulator: ModelSimulator;
let usher: UsherProcess;

beforeAll(async () => {
  simulator = await startModelSimulator();
  const assistants = { guide: {}, desk: {} };
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

/** A stranger who has opened the page of a public assistant. */
async function visitor(): Promise<string> {
  const { body } = await send('POST /chat/guide/visit', undefined, {});
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
