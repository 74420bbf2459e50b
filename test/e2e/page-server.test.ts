import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUsher, type UsherProcess } from '#test/process';
import { usherFiles } from '#test/usher-files';

let usher: UsherProcess;

beforeAll(async () => {
  const { files } = usherFiles([], {
    assistants: {
      open: { spec: { title: 'Open to all' } },
      members: { spec: { page: { access: 'token' } } },
      shared: { spec: { title: 'Shared by two' } },
    },
  });
  const placed = (names: readonly string[]) => names.map((name) => ({ name, folder: `./${name}` }));
  const config = {
    backends: [{ name: 'knowledge', kind: 'knowledge' }],
    tenants: [
      { id: 'acme', assistants: placed(['open', 'members', 'shared']) },
      { id: 'other', assistants: placed(['shared']) },
    ],
  };
  usher = await startUsher({ config: JSON.stringify(config), files });
});
afterAll(() => usher?.stop());

interface Visit {
  readonly token: string;
  readonly expiresAtMs: number;
  readonly visitor: string;
}

function post(path: string, body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Response> {
  const json = { 'content-type': 'application/json', ...headers };
  return fetch(usher.url + path, { method: 'POST', headers: json, body: JSON.stringify(body) });
}

async function visit(address: string, visitor?: string): Promise<Visit> {
  const answer = await post(`/chat/${address}/visit`, { visitor });
  expect(answer.status).toBe(200);
  return (await answer.json()) as Visit;
}

/** Whom and what a token is for, as it says itself. */
function claims(token: string): Readonly<Record<string, unknown>> {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
}

describe('the files of the pages', () => {
  test('are named by their content and kept for ever', async () => {
    const page = await (await fetch(`${usher.url}/chat/open`)).text();
    const addresses = [...page.matchAll(/"(\/assets\/[^"]+)"/g)].map(([, address]) => address ?? '');
    expect(addresses.length).toBeGreaterThanOrEqual(4);
    for (const address of addresses) {
      const answer = await fetch(usher.url + address);
      expect(answer.status).toBe(200);
      expect(answer.headers.get('cache-control')).toContain('immutable');
    }
  });

  test('are served but not kept under the digest of another version, so that a fleet can be renewed', async () => {
    const answer = await fetch(`${usher.url}/assets/0123456789abcdef/chat.js`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-cache');
  });

  test('are packed for those who take it', async () => {
    const address = `${usher.url}/assets/x/marked.js`;
    const plain = await (await fetch(address, { headers: { 'accept-encoding': 'identity' } })).text();
    const refused = await fetch(address, { headers: { 'accept-encoding': 'gzip;q=0' } });
    expect(refused.headers.get('content-encoding')).toBeNull();
    const packed = await fetch(address, { headers: { 'accept-encoding': 'br, gzip' } });
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    expect(await packed.text()).toBe(plain);
    expect(() => gunzipSync(plain)).toThrow();
  });

  test.each(['/assets/x/page-routes.ts', '/assets/x/..%2fpage-routes.ts', '/assets/x/%00', '/assets/x/__proto__'])(
    'end where the list ends: %s',
    async (path) => {
      expect([400, 404]).toContain((await fetch(usher.url + path)).status);
    },
  );
});

describe('pages', () => {
  test('run nothing but their own files, and may not be framed', async () => {
    for (const path of ['/chat/open', '/', '/chat/open?embed=1', '/chat/open?embed=1&from=https://www.example.com']) {
      const policy = (await fetch(usher.url + path)).headers.get('content-security-policy') ?? '';
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toContain("require-trusted-types-for 'script'");
      expect(policy).not.toContain('unsafe');
    }
  });

  test('hold no script and no style of their own', async () => {
    const page = await (await fetch(`${usher.url}/chat/open`)).text();
    expect(page).not.toMatch(/<style|\sstyle=|\son\w+=/i);
    expect([...page.matchAll(/<script[^>]*>([^<]*)/g)].map(([, inside]) => inside)).toEqual(['', '']);
  });

  test('the front page lists what is open to everyone, and nothing else', async () => {
    const page = await (await fetch(usher.url)).text();
    expect([...page.matchAll(/href="(\/chat\/[^"]+)"/g)].map(([, address]) => address)).toEqual([
      '/chat/open',
      '/chat/shared',
      '/chat/shared~other',
    ]);
  });

  test('an address without an assistant is said so, to people as a page and to programs as an error', async () => {
    const page = await fetch(`${usher.url}/chat/nobody`, { headers: { accept: 'text/html' } });
    expect(page.status).toBe(404);
    expect(await page.text()).toContain('There is no assistant at this address');
    const error = await fetch(`${usher.url}/chat/nobody`);
    expect(error.status).toBe(404);
    expect(await error.json()).toMatchObject({ error: { code: 'not_found' } });
  });
});

describe('a visit', () => {
  test('makes a new person, who is the same on the next one', async () => {
    const first = await visit('open');
    const again = await visit('open', first.visitor);
    const stranger = await visit('open');
    expect(claims(again.token)['sub']).toBe(claims(first.token)['sub']);
    expect(claims(stranger.token)['sub']).not.toBe(claims(first.token)['sub']);
    expect(first.expiresAtMs).toBeLessThanOrEqual(Date.now() + 15 * 60_000);
  });

  test.each([
    ['none of ours', async () => 'nonsense'],
    ['of another assistant', async () => (await visit('shared')).visitor],
    ['of another tenant', async () => (await visit('shared~other')).visitor],
    ['a token for talking', async () => (await visit('open')).token],
  ])('with a credential that is %s makes a new person', async (_what, credential) => {
    const given = await credential();
    const { token, visitor } = await visit('open', given);
    expect(visitor).not.toBe(given);
    expect(claims(token)).toMatchObject({ tenant: 'acme', assistant: 'open' });
    if (given.includes('.')) expect(claims(token)['sub']).not.toBe(claims(given)['sub']);
  });

  test('leads to the tenant that the address means', async () => {
    expect(claims((await visit('shared')).token)['tenant']).toBe('acme');
    expect(claims((await visit('shared~other')).token)['tenant']).toBe('other');
  });

  test('is refused where people must be signed in, and to the pages of strangers', async () => {
    expect((await post('/chat/members/visit', {})).status).toBe(403);
    expect((await post('/chat/open/visit', {}, { origin: 'https://www.example.com' })).status).toBe(403);
    expect((await post('/chat/open/visit', {}, { origin: usher.url })).status).toBe(200);
  });

  test('opens nothing by its lasting credential alone, and nothing at the address of another assistant', async () => {
    const { token, visitor } = await visit('open');
    const list = (address: string, credential: string): Promise<Response> =>
      fetch(`${usher.url}/chat/${address}/conversations`, { headers: { authorization: `Bearer ${credential}` } });
    expect((await list('open', token)).status).toBe(200);
    expect((await list('open', visitor)).status).toBe(401);
    expect((await list('shared', token)).status).toBe(404);
    expect((await list('shared~other', token)).status).toBe(404);
  });

  test('too many from one address are asked to wait', async () => {
    await using crowded = await startUsher({
      ...usherFiles([], { assistants: { open: {} } }),
      config: JSON.stringify({
        backends: [{ name: 'knowledge', kind: 'knowledge' }],
        tenants: [{ id: 'acme', assistants: [{ name: 'open', folder: './open' }] }],
      }),
    });
    const statuses = new Set<number>();
    let waitS = 0;
    for (let count = 0; count < 125; count += 1) {
      const answer = await fetch(`${crowded.url}/chat/open/visit`, { method: 'POST' });
      statuses.add(answer.status);
      waitS = Number(answer.headers.get('retry-after') ?? waitS);
      await answer.arrayBuffer();
    }
    expect([...statuses]).toEqual([200, 429]);
    expect(waitS).toBeGreaterThan(0);
  });
});

describe('POST /v1/user_tokens', () => {
  const mint = (body: unknown, key = usher.apiKey): Promise<Response> =>
    post('/v1/user_tokens', body, { authorization: `Bearer ${key}` });

  test('lets a person whom the application knows talk to an assistant that asks for it', async () => {
    const answer = await mint({ assistant: 'members', subject: 'ann@example.com' });
    expect(answer.status).toBe(200);
    const { token, subject } = (await answer.json()) as { token: string; subject: string };
    expect(subject).toBe('ann@example.com');
    const asked = await post(
      '/v1/responses',
      { model: 'members', input: 'Hello' },
      { authorization: `Bearer ${token}` },
    );
    expect(asked.status).toBe(200);
  });

  test('is closed to people, and names no assistant of another tenant', async () => {
    expect((await mint({ assistant: 'open', subject: 'ann' }, (await visit('open')).token)).status).toBe(403);
    expect((await mint({ assistant: 'nobody', subject: 'ann' })).status).toBe(404);
    expect((await mint({ assistant: 'open' })).status).toBe(400);
    expect((await mint({ assistant: 'open', subject: 'a\u0007b' })).status).toBe(400);
  });
});
