import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from './source-tree.ts';

const execute = promisify(execFile);

/** What a program said is the reason of its failure. */
async function run(program: string, args: readonly string[], options: { readonly cwd: string }): Promise<string> {
  try {
    return (await execute(program, [...args], options)).stdout;
  } catch (error) {
    const { message, stdout, stderr } = error as Error & { stdout?: string; stderr?: string };
    throw new Error([message, stdout, stderr].join('\n'), { cause: error });
  }
}

let home: string;

/** `npm pack`, and what it made installed in an empty folder, as a person would. */
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'usher-pack-'));
  await run('npm', ['pack', '--pack-destination', home], { cwd: root });
  const tarball = readdirSync(home).find((name) => name.endsWith('.tgz'));
  writeFileSync(join(home, 'package.json'), '{"private":true}\n');
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(home, tarball!)], { cwd: home });
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const usher = (args: readonly string[], cwd = home): Promise<string> =>
  run(join(home, 'node_modules', '.bin', 'usher'), args, { cwd });

test('the package holds JavaScript and what it needs, and neither source nor tests', () => {
  const inside = readdirSync(join(home, 'node_modules', 'usherd'), { recursive: true, encoding: 'utf8' }).filter(
    (path) => !path.startsWith('node_modules'),
  );
  expect(inside).toContain(join('dist', 'cli', 'usher.js'));
  expect(inside).toContain(join('examples', 'assistants', 'guide', 'assistant.yaml'));
  expect(inside.filter((path) => /\.(ts|test\.js|contract\.js|fixture\.js|model\.js)$/.test(path))).toEqual([]);
});

test('usher --version', async () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  expect(await usher(['--version'])).toBe(`${version}\n`);
});

test('usher init and usher serve: an assistant answers, its page, widget and styles are there', async () => {
  await usher(['init', 'porter']);
  const folder = join(home, 'porter');
  const server = spawn(join(home, 'node_modules', '.bin', 'usher'), ['serve', '--port', '0', '--json'], {
    cwd: folder,
  });
  const ended = once(server, 'close');
  const [line] = (await once(server.stdout.setEncoding('utf8'), 'data')) as [string];
  const { url, chat, apiKey } = JSON.parse(line) as Record<'url' | 'chat' | 'apiKey', string>;
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'porter', messages: [{ role: 'user', content: 'What can you help me with?' }] }),
  });
  expect(answer.status).toBe(200);
  expect(await answer.text()).toContain('about.md');
  const page = await fetch(chat);
  expect(page.status).toBe(200);
  const assets = Array.from(
    (await page.text()).matchAll(/(?:src|href)="(\/[^"#]+\.(?:js|css))"/g),
    ([, path]) => path!,
  );
  expect(assets.length).toBeGreaterThanOrEqual(1);
  for (const path of [...assets, '/widget.js']) expect((await fetch(`${url}${path}`)).status, path).toBe(200);
  server.kill('SIGTERM');
  expect((await ended)[0]).toBe(0);
});
