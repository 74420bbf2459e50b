import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUsher } from '#test/process';
import { usherFiles } from '#test/usher-files';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'usher-damaged-'));
/** How the data was left: by a kill the last writes are in the log alone. */
const ways = ['SIGTERM', 'SIGKILL'] as const;
type Way = (typeof ways)[number];
const stored = new Map<Way, { readonly path: string; readonly headers: Readonly<Record<string, string>> }>();

beforeAll(async () => {
  const { config, files } = usherFiles([], {
    assistants: { guide: {} },
    config: { backends: [{ name: 'knowledge', kind: 'knowledge' }] },
  });
  for (const way of ways) {
    await using usher = await startUsher({ config, files });
    const headers = { authorization: `Bearer ${usher.apiKey}`, 'content-type': 'application/json' };
    const body = JSON.stringify({ model: 'guide', input: 'Where is row one? '.repeat(500) });
    const answer = await fetch(`${usher.url}/v1/responses`, { method: 'POST', headers, body });
    expect(answer.status).toBe(200);
    stored.set(way, { path: `/v1/responses/${((await answer.json()) as { id: string }).id}`, headers });
    await usher.kill(way);
    cpSync(usher.home, join(root, way), { recursive: true });
  }
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

interface Damage {
  readonly name: string;
  readonly says: RegExp;
  readonly do: (data: string) => void;
  /** How the data was left where this is tried; absent: either way. After a kill a database is whole by its log. */
  readonly way?: Way;
  /** Only the database can tell, so it is opened; its log may be moved into it, which changes nothing of what it says. */
  readonly seenInDatabase?: true;
}

const damages: readonly Damage[] = [
  {
    name: 'a database whose pages were overwritten',
    way: 'SIGTERM',
    says: /database file is damaged\. Nothing was changed.*backup/,
    do: (data) => {
      const bytes = readFileSync(join(data, 'usher.db'));
      for (let page = 1; page * 4096 < bytes.length; page += 2) bytes.fill(0xa5, page * 4096, page * 4096 + 2048);
      writeFileSync(join(data, 'usher.db'), bytes);
    },
  },
  {
    name: 'a database that was cut short',
    way: 'SIGTERM',
    says: /database file is damaged\. Nothing was changed.*backup/,
    do: (data) => truncateSync(join(data, 'usher.db'), 3 * 4096 + 100),
  },
  {
    name: 'a database that is none',
    way: 'SIGTERM',
    says: /damaged\. Nothing was changed.*backup/,
    do: (data) => writeFileSync(join(data, 'usher.db'), 'To be, or not to be. '.repeat(1000)),
  },
  {
    name: 'a root key that is missing',
    seenInDatabase: true,
    says: /root\.key is missing, but the database holds content.*Put the file back from a backup/,
    do: (data) => renameSync(join(data, 'root.key'), join(data, 'elsewhere')),
  },
  {
    name: 'a root key that was cut short',
    way: 'SIGKILL',
    says: /root\.key is damaged\. Put it back from a backup\. Nothing was overwritten/,
    do: (data) => truncateSync(join(data, 'root.key'), 100),
  },
  {
    name: 'a root key with one letter changed',
    way: 'SIGTERM',
    says: /root\.key is damaged\. Put it back from a backup/,
    do: (data) => {
      const text = readFileSync(join(data, 'root.key'), 'utf8');
      writeFileSync(
        join(data, 'root.key'),
        text.replace(/("key": ")(.)/, (_, head: string, letter: string) => head + (letter === 'A' ? 'B' : 'A')),
      );
    },
  },
  {
    name: 'a root key of another installation',
    seenInDatabase: true,
    says: /sealed under root key root-\w+, but the root key given is root-\w+\. Start with the root key that this database was used with/,
    do: (data) => cpSync(join(otherThan(data), 'root.key'), join(data, 'root.key')),
  },
  {
    name: 'a root key that others may read',
    way: 'SIGTERM',
    says: /root\.key may be read by other users\. Close it with: chmod 600/,
    do: (data) => chmodSync(join(data, 'root.key'), 0o644),
  },
];

function otherThan(data: string): string {
  return join(root, data.includes('SIGTERM') ? 'SIGKILL' : 'SIGTERM', 'data');
}

describe.each(ways)('after %s', (way) => {
  const here = damages.filter((damage) => (damage.way ?? way) === way);

  test.each(here)('$name stops the start with what to do, and every file stays as it was', async (damage) => {
    const data = join(copyOf(way), 'data');
    damage.do(data);
    const before = contents(data);
    const { code, stderr } = await serve(join(data, '..'));
    expect(stderr).toMatch(damage.says);
    expect(stderr).toMatch(/^usher: .*\n$/);
    expect(code).toBe(1);
    const mayMove = way === 'SIGKILL' && damage.seenInDatabase === true;
    const after = contents(data);
    for (const [name, bytes] of before) {
      if (!(mayMove && name.startsWith('usher.db')))
        expect([name, after.get(name)?.equals(bytes)]).toEqual([name, true]);
    }
    if (!mayMove) return;
    cpSync(join(root, way, 'data', 'root.key'), join(data, 'root.key'));
    await demandServed(data, way);
  });

  test('undamaged, it serves what was said', () => demandServed(join(copyOf(way), 'data'), way));
});

function copyOf(way: Way): string {
  const home = mkdtempSync(join(root, `${way}-`));
  cpSync(join(root, way), home, { recursive: true });
  return home;
}

async function demandServed(dataDir: string, way: Way): Promise<void> {
  await using usher = await startUsher({ dataDir, args: ['--config', join(dataDir, '..', 'usher.yaml')] });
  const { path, headers } = stored.get(way)!;
  expect((await fetch(usher.url + path, { headers })).status).toBe(200);
}

function contents(folder: string): Map<string, Buffer> {
  return new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
}

async function serve(home: string): Promise<{ code: number | null; stderr: string }> {
  const args = ['serve', '--json', '--port', '0', '--config', join(home, 'usher.yaml'), '--data', join(home, 'data')];
  const child = spawn(process.execPath, [launcher, ...args], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 20_000 });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
}
