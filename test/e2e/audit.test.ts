import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const assistant = 'guide';

let usher: UsherProcess;
let key: Readonly<Record<'north' | 'south', { readonly id: string; readonly key: string }>>;

beforeAll(async () => {
  const { files } = usherFiles([], { assistants: { [assistant]: {} } });
  const assistants = [{ name: assistant, folder: `./${assistant}` }];
  const config = {
    backends: [{ name: 'knowledge', kind: 'knowledge' }],
    tenants: ['north', 'south'].map((id) => ({ id, assistants })),
  };
  usher = await startUsher({ config: JSON.stringify(config), files });
  key = { north: await keyOf('north'), south: await keyOf('south') };
});
afterAll(() => usher?.stop());

async function keys(...args: string[]): Promise<string> {
  const where = ['--config', join(usher.home, 'usher.yaml'), '--data', usher.dataDir];
  return (await promisify(execFile)(process.execPath, [launcher, 'keys', ...args, ...where])).stdout;
}

async function keyOf(tenant: string): Promise<{ readonly id: string; readonly key: string }> {
  const scopes = ['talk', 'users', 'manage', 'operate'];
  return JSON.parse(await keys('create', '--tenant', tenant, '--scope', ...scopes, '--json')) as never;
}

async function call(tenant: 'north' | 'south', target: string, body?: object, status = 200): Promise<unknown> {
  const [method, path] = target.split(' ') as [string, string];
  const headers = { authorization: `Bearer ${key[tenant].key}`, 'content-type': 'application/json' };
  const answer = await fetch(usher.url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  expect(answer.status).toBe(status);
  return answer.json();
}

interface Page {
  readonly records: readonly { readonly id: string; readonly actor: string; readonly action: string; target: string }[];
  readonly hasMore: boolean;
}

describe('the audit trail', () => {
  test('says who made tokens, looked at handovers and rotated the root key, of the own tenant, newest first', async () => {
    await call('north', 'POST /v1/user_tokens', { assistant, subject: 'ann' });
    await call('north', 'GET /admin/handovers');
    await keys('rotate-root');
    await call('south', 'POST /v1/user_tokens', { assistant, subject: 'bob' });
    const { records, hasMore } = (await call('north', 'GET /admin/audit?limit=4')) as Page;
    const actor = `key:${key.north.id}`;
    expect(records).toMatchObject([
      { actor: 'cli', action: 'root.rotate' },
      { actor, action: 'handover.list', target: 'open' },
      { actor, action: 'user_token.create', target: `${assistant}/ann` },
      { actor: 'cli', action: 'key.create', target: key.north.id },
    ]);
    expect(hasMore).toBe(true);
    const paged: string[] = [];
    for (let after: string | undefined; ; after = paged.at(-1)) {
      const page = (await call('north', `GET /admin/audit?limit=1${after ? `&after=${after}` : ''}`)) as Page;
      paged.push(...page.records.map(({ id }) => id));
      if (!page.hasMore) break;
    }
    expect(paged.slice(0, 4)).toEqual(records.map(({ id }) => id));
    expect(new Set(paged).size).toBe(paged.length);
    const other = (await call('south', 'GET /admin/audit')) as Page;
    expect(other.records.map(({ action }) => action)).toEqual(['user_token.create', 'root.rotate', 'key.create']);
    expect(await call('south', `GET /admin/audit?after=${paged[0]}`)).toEqual({ records: [], hasMore: false });
    for (const list of ['audit', 'handovers']) {
      const refused = await call('south', `GET /admin/${list}?after=nothing`, undefined, 404);
      expect(refused).toMatchObject({ error: { param: 'after' } });
    }
  });

  test('says nothing of a token that was not made', async () => {
    const before = await call('north', 'GET /admin/audit');
    for (const subject of ['app:key_1', 'a\u0000b']) {
      await call('north', 'POST /v1/user_tokens', { assistant, subject }, 400);
    }
    expect(await call('north', 'GET /admin/audit')).toEqual(before);
  });
});
