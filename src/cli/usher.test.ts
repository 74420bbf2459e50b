import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));
const quietEnv = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(OPENAI_|USHER_|OTEL_|VITEST|NODE_OPTIONS|FORCE_COLOR)/.test(name)),
);
let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'usher-cli-'));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Settles when standard error holds the text. */
  said(text: string): Promise<void>;
  /** Settles with the first line of standard output. */
  firstLine(): Promise<string>;
}

const running = new Set<ChildProcess>();
afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

function start(
  args: readonly string[],
  options: { folder?: string; env?: NodeJS.ProcessEnv; node?: string } = {},
): Running {
  const child = spawn(options.node ?? process.execPath, [launcher, ...args], {
    cwd: options.folder ?? cwd,
    env: { ...quietEnv, NO_COLOR: '1', ...options.env },
  });
  running.add(child);
  const seen = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (piece: string) => {
      seen[name] += piece;
      for (const look of waiting) look();
    });
  }
  const until = (holds: () => boolean): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => (holds() ? resolve() : undefined);
      waiting.add(look);
      child.once('close', () => reject(new Error(`ended: ${seen.stdout}${seen.stderr}`)));
      look();
    });
  const ended = once(child, 'close').then(([code]) => {
    running.delete(child);
    return { code: code as number | null, ...seen };
  });
  return {
    child,
    ended,
    said: (text) => until(() => seen.stderr.includes(text)),
    firstLine: async () => {
      await until(() => seen.stdout.includes('\n'));
      return seen.stdout.slice(0, seen.stdout.indexOf('\n'));
    },
  };
}

async function usher(
  args: readonly string[],
  options: Parameters<typeof start>[1] & { input?: string } = {},
): Promise<Ended> {
  const process = start(args, options);
  process.child.stdin?.end(options.input ?? '');
  return process.ended;
}

describe('the command line', { timeout: 60_000 }, () => {
  test('--version prints the version of the package alone', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await usher(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  test('a mistyped command is told the nearest, with exit code 2', async () => {
    const { code, stderr } = await usher(['serv']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^usher: unknown command 'serv'\n\(Did you mean serve\?\)/);
  });

  test('a port that is none is refused with exit code 2', async () => {
    const { code, stderr } = await usher(['serve', '--port', '70000']);
    expect(code).toBe(2);
    expect(stderr).toContain('Give a number from 0 to 65535.');
  });

  test('a failure is one sentence without a stack; --debug adds it', async () => {
    const plain = await usher(['serve', '--config', 'none.yaml']);
    expect(plain.code).toBe(1);
    expect(plain.stderr).toMatch(
      /^usher: there is no configuration file .*none\.yaml; check the path given to --config\n$/,
    );
    const debug = await usher(['serve', '--config', 'none.yaml', '--debug']);
    expect(debug.stderr).toContain('    at ');
  });
});

// Many processes one after the other: slow on a machine that has other work, too.
describe('an assistant from nothing', { timeout: 180_000 }, () => {
  test('init, dev, chat, a bad save, a good save, keys, stop', async () => {
    const made = await usher(['init', 'porter']);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const folder = join(cwd, 'porter');
    const server = start(['dev', '--port', '0', '--json'], { folder });
    const { url, chat, apiKey } = JSON.parse(await server.firstLine()) as Record<'url' | 'chat' | 'apiKey', string>;
    expect(chat).toBe(`${url}/chat/porter`);
    expect(statSync(join(folder, '.usher', 'api-key')).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, '.usher')).mode & 0o077).toBe(0);

    const models = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${apiKey}` } });
    expect(models.status).toBe(200);

    const talked = await usher(['chat'], { folder, input: 'What can you help me with?\n/new\nHow do I change you?\n' });
    expect(talked).toMatchObject({ code: 0, stderr: '' });
    expect(talked.stdout).toContain('about.md');

    const post = async (path: string, body: object): Promise<{ id: string; model: string }> => {
      const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
      const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
      expect(answer.status).toBe(200);
      return (await answer.json()) as { id: string; model: string };
    };
    const { id: conversation } = await post('/v1/conversations', {});
    const asked = { model: 'porter', input: 'What can you help me with?' };
    const { model: before } = await post('/v1/responses', { ...asked, conversation });

    const file = join(folder, 'assistant.yaml');
    const good = readFileSync(file, 'utf8');
    const line = good.split('\n').findIndex((text) => text.startsWith('knowledge:')) + 1;
    writeFileSync(file, good.replace(/^knowledge:/m, 'knowlege:'));
    await server.said('not reloaded porter: the last good one serves on');
    await server.said(`assistant.yaml:${line}:1  unknown key "knowlege"; did you mean "knowledge"?`);
    expect((await post('/v1/responses', asked)).model).toBe(before);
    writeFileSync(file, good);
    appendFileSync(join(folder, 'instructions.md'), '\nBe brief.\n');
    await server.said('reloaded porter sha256:');
    expect((await post('/v1/responses', asked)).model).not.toBe(before);
    expect((await post('/v1/responses', { ...asked, conversation })).model).toBe(before);

    const created = await usher(['keys', 'create', '--name', 'app', '--json'], { folder });
    const { key, id } = JSON.parse(created.stdout) as { key: string; id: string };
    const call = (): Promise<Response> => fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    expect((await call()).status).toBe(200);
    const listed = await usher(['keys', 'list'], { folder });
    expect(listed.stdout).toContain(id);
    expect(listed.stdout).not.toContain(key);
    expect((await usher(['keys', 'revoke', id], { folder })).stdout).toBe(`Revoked ${id}.\n`);
    expect((await call()).status).toBe(401);
    expect(await usher(['keys', 'revoke', id], { folder })).toMatchObject({ code: 1, stdout: '' });

    server.child.kill('SIGTERM');
    expect((await server.ended).code).toBe(0);
  });

  test('the root key is rotated, and what was said before can still be read', async () => {
    const folder = join(cwd, 'porter');
    const before = readFileSync(join(folder, '.usher', 'root.key'), 'utf8');
    const rotated = await usher(['keys', 'rotate-root'], { folder });
    expect(rotated).toMatchObject({ code: 0, stderr: '' });
    expect(rotated.stdout).toMatch(/^Rotated the root key: root-[0-9a-f]+ now wraps every tenant key/);
    expect(readFileSync(join(folder, '.usher', 'root.key'), 'utf8')).not.toBe(before);
    const server = start(['serve', '--port', '0', '--json'], { folder });
    await server.firstLine();
    server.child.kill('SIGINT');
    expect((await server.ended).code).toBe(0);
  });

  test('the doctor finds a key that others may read, and says how to close it', async () => {
    const folder = join(cwd, 'porter');
    const kept = join(folder, '.usher', 'api-key');
    chmodSync(kept, 0o644);
    const ill = await usher(['doctor'], { folder });
    expect(ill.code).toBe(1);
    expect(ill.stdout).toContain(`chmod 600 ${kept}`);
    chmodSync(kept, 0o600);
    const well = await usher(['doctor', '--json'], { folder });
    const findings = JSON.parse(well.stdout) as { subject: string; state: string }[];
    expect(findings.find(({ subject }) => subject === 'secrets')?.state).toBe('ok');
    expect(findings.find(({ subject }) => subject === 'storage')?.state).toBe('ok');
    expect(findings.find(({ subject }) => subject === 'porter')?.state).toBe('ok');
  });

  test('the doctor finds an assistant with which no server would start', async () => {
    const folder = join(cwd, 'porter');
    const path = join(folder, 'assistant.yaml');
    const written = readFileSync(path, 'utf8');
    writeFileSync(path, written.replace('disclosure:', 'disclosur:'));
    const { code, stdout } = await usher(['doctor'], { folder });
    const start = await usher(['serve', '--port', '0'], { folder });
    writeFileSync(path, written);
    expect(start.stderr).toContain('Mend the assistant folder and start again.');
    expect(start.stderr).not.toContain('serves on');
    expect(code).toBe(1);
    expect(stdout).toContain('did you mean "disclosure"?');
    expect(stdout).not.toContain('All is well.');
  });

  test('init refuses a name that cannot be, and a folder that is not empty', async () => {
    expect((await usher(['init', 'My Porter'])).stderr).toContain('use lower-case letters, digits and inner hyphens');
    expect((await usher(['init', 'porter'])).stderr).toContain('exists and is not empty');
  });
});

describe('the configuration', () => {
  test('config check tells every problem with its place, and the same as JSON', async () => {
    const folder = mkdtempSync(join(cwd, 'config-'));
    writeFileSync(join(folder, 'usher.yaml'), 'listen: { prot: 1 }\nlimitz: {}\n');
    const told = await usher(['config', 'check'], { folder });
    expect(told.code).toBe(1);
    expect(told.stderr).toContain('usher.yaml:1:11  unknown key "prot"; did you mean "port"?');
    expect(told.stderr).toContain('usher.yaml:2:1  unknown key "limitz"; did you mean "limits"?');
    const { stdout } = await usher(['config', 'check', '--json'], { folder });
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      problems: [
        { line: 1, column: 11 },
        { line: 2, column: 1 },
      ],
    });
  });

  test('schemas for editors are printed as JSON', async () => {
    const config = await usher(['config', 'schema']);
    const assistant = await usher(['assistant', 'schema']);
    expect(JSON.parse(config.stdout)).toMatchObject({ title: 'usher.yaml', type: 'object' });
    expect(JSON.parse(assistant.stdout)).toMatchObject({ title: 'assistant.yaml', type: 'object' });
  });
});

describe('a port that is taken', () => {
  test('is told where it was asked for', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { code, stderr } = await usher(['serve', '--port', String(port), '--data', 'taken']);
    taken.close();
    expect(code).toBe(1);
    expect(stderr).toBe(`usher: port ${port} of 127.0.0.1 is taken; stop what uses it, or give another with --port\n`);
  });
});

/** A Node before 24 on this machine, as a fresh Debian has one; the launcher is what such a Node runs. */
const oldNode = (process.env['PATH'] ?? '')
  .split(':')
  .map((folder) => join(folder, 'node'))
  .find((path) => {
    try {
      return Number(execFileSync(path, ['-p', 'process.versions.node.split(".")[0]'], { stdio: 'pipe' })) < 24;
    } catch {
      return false;
    }
  });

describe.skipIf(oldNode === undefined)('started by an older Node', { timeout: 120_000 }, () => {
  test('the Node that comes with Usher runs it, and the exit code is kept', async () => {
    expect((await usher(['--version'], { node: oldNode! })).code).toBe(0);
    expect((await usher(['serve', '--port', 'x'], { node: oldNode! })).code).toBe(2);
  });

  test('without that one, a sentence says what to install', async () => {
    const lone = mkdtempSync(join(cwd, 'lone-'));
    writeFileSync(join(lone, 'package.json'), '{"type":"module"}');
    writeFileSync(join(lone, 'usher.js'), readFileSync(launcher));
    const child = spawn(oldNode!, [join(lone, 'usher.js'), 'serve'], { env: quietEnv });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (piece: string) => (stderr += piece));
    const [code] = (await once(child, 'close')) as [number];
    expect(code).toBe(1);
    expect(stderr).toMatch(/^usher: Usher needs Node 24 or later; this is Node \d+.* Install Node 24 from/);
    expect(stderr).not.toContain('    at ');
  });

  test('signals are passed on, and a killed launcher leaves no server behind', async () => {
    const options = { node: oldNode! };
    const stopped = start(['serve', '--port', '0', '--json', '--data', 'old'], options);
    await stopped.firstLine();
    stopped.child.kill('SIGTERM');
    expect((await stopped.ended).code).toBe(0);

    const killed = start(['serve', '--port', '0', '--json', '--data', 'old'], options);
    const { url } = JSON.parse(await killed.firstLine()) as { url: string };
    killed.child.kill('SIGKILL');
    // The streams close when the server, too, has ended.
    await killed.ended;
    await expect(fetch(`${url}/livez`)).rejects.toThrow();
  });
});
