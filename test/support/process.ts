import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const launcher = fileURLToPath(new URL('../../bin/usher.js', import.meta.url));

/** What runs ends at once, or was let go of by its test: the rest of a stop takes well below a second. */
const stopTimeoutMs = 10_000;

export interface UsherOptions {
  /** Text of `usher.yaml`; absent: none is given, and the program looks around as on a first run. */
  readonly config?: string;
  /** Text of further files by path beside `usher.yaml`, such as assistant folders. */
  readonly files?: Readonly<Record<string, string>>;
  /** Absent: a temporary one, removed at the end. */
  readonly dataDir?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** After `serve --json --port 0 --data …`. */
  readonly args?: readonly string[];
  readonly cwd?: string;
  /** Default 30 seconds. */
  readonly startTimeoutMs?: number;
}

/** The real program, serving. */
export interface UsherProcess extends AsyncDisposable {
  readonly url: string;
  /** Empty on a node that serves no pages, or does not know yet which. */
  readonly chat: string;
  /** Empty where the owner manages keys on purpose, so that none was made. */
  readonly apiKey: string;
  readonly pid: number;
  readonly dataDir: string;
  /** The folder of `usher.yaml` and the files given. */
  readonly home: string;
  /** A new API key with these scopes, made by the command line beside the running server. */
  key(...scopes: readonly string[]): Promise<string>;
  /** Writes or replaces files, by path below `home`. */
  write(files: Readonly<Record<string, string>>): Promise<void>;
  /** From the start of the process to its line of readiness. */
  readonly startMs: number;
  /** All it wrote so far, both outputs, over all restarts. */
  logs(): string;
  /** Ends the process and waits until it is gone. Default SIGKILL; SIGTERM lets it drain. */
  kill(signal?: 'SIGKILL' | 'SIGTERM' | 'SIGINT'): Promise<{ code: number | null; signal: string | null }>;
  /** Starts it again over the same data and configuration, on the same port. Kills it first where it runs. */
  restart(): Promise<void>;
  /**
   * Ends it with SIGTERM and removes what was temporary.
   * @throws Error where it had to be killed: a test that leaves an answer under way kills it itself
   */
  stop(): Promise<void>;
}

/**
 * Starts `usher serve --json` as a process group of its own and waits for its one line.
 * @throws Error with all it wrote, if it ends or stays silent
 */
export async function startUsher(options: UsherOptions = {}): Promise<UsherProcess> {
  const home = await mkdtemp(join(tmpdir(), 'usher-process-'));
  const dataDir = options.dataDir ?? join(home, 'data');
  const write = async (files: Readonly<Record<string, string>>): Promise<void> => {
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(home, path)), { recursive: true });
      await writeFile(join(home, path), text);
    }
  };
  await write(options.files ?? {});
  const fixed = ['--data', dataDir];
  if (options.config !== undefined) {
    await writeFile(join(home, 'usher.yaml'), options.config);
    fixed.push('--config', join(home, 'usher.yaml'));
  }
  const log = new Log();
  const start = (port: number): Promise<Running> => run(['--port', String(port), ...fixed], options, home, log);
  let running = await start(0).catch(async (error: unknown) => {
    await rm(home, { recursive: true, force: true });
    throw error;
  });
  const stop = async (): Promise<void> => {
    const hasEnded = await endGently(running.child);
    await rm(home, { recursive: true, force: true });
    if (!hasEnded) throw new Error(`usher did not end within ${stopTimeoutMs} ms of SIGTERM; it wrote:\n${log.text}`);
  };
  return {
    get url() {
      return running.ready.url;
    },
    get chat() {
      return running.ready.chat;
    },
    get apiKey() {
      return running.ready.apiKey;
    },
    get pid() {
      return running.child.pid ?? 0;
    },
    get startMs() {
      return running.startMs;
    },
    dataDir,
    home,
    async key(...scopes) {
      const create = [launcher, 'keys', 'create', '--scope', ...scopes, '--json', ...fixed];
      const { stdout } = await promisify(execFile)(process.execPath, create);
      return (JSON.parse(stdout) as { key: string }).key;
    },
    write,
    logs: () => log.text,
    kill: (signal = 'SIGKILL') => killGroup(running.child, signal),
    async restart() {
      await killGroup(running.child, 'SIGKILL');
      running = await start(Number(new URL(running.ready.url).port));
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Ready {
  readonly url: string;
  readonly chat: string;
  readonly apiKey: string;
}

interface Running {
  readonly child: ChildProcess;
  readonly ready: Ready;
  readonly startMs: number;
}

async function run(flags: readonly string[], options: UsherOptions, home: string, log: Log): Promise<Running> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [launcher, 'serve', '--json', ...flags, ...(options.args ?? [])], {
    cwd: options.cwd ?? home,
    env: { ...plainEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: the launcher may have started the real process beside it.
    detached: true,
  });
  const killAtExit = (): void => signalGroup(child, 'SIGKILL');
  process.once('exit', killAtExit);
  child.once('exit', () => process.off('exit', killAtExit));
  const lines = createInterface({ input: child.stdout });
  child.stderr.setEncoding('utf8').on('data', (text: string) => log.write(text));
  lines.on('line', (line) => log.write(`${line}\n`));
  const ready = await readyLine(child, lines, options.startTimeoutMs ?? 30_000);
  if (ready !== undefined) return { child, ready, startMs: performance.now() - startedAt };
  await killGroup(child, 'SIGKILL');
  throw new Error(`usher did not start; it wrote:\n${log.text}`);
}

/** The newest output, bounded. */
class Log {
  text = '';

  write(text: string): void {
    this.text = (this.text + text).slice(-4_000_000);
  }
}

/** The first line that is the JSON of readiness; undefined where the process ended or was silent. */
function readyLine(child: ChildProcess, lines: Interface, timeoutMs: number): Promise<Ready | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), timeoutMs);
    const settle = (ready: Ready | undefined): void => {
      clearTimeout(timer);
      resolve(ready);
    };
    child.once('exit', () => settle(undefined));
    lines.on('line', (line) => {
      const ready = parseReady(line);
      if (ready !== undefined) settle(ready);
    });
  });
}

function parseReady(line: string): Ready | undefined {
  if (!line.startsWith('{')) return undefined;
  const { url, chat, apiKey } = JSON.parse(line) as { url?: string; chat?: string | null; apiKey?: string | null };
  return url === undefined || chat === undefined ? undefined : { url, chat: chat ?? '', apiKey: apiKey ?? '' };
}

/** The caller's environment without what would choose a model, a store or an exporter by itself. */
function plainEnvironment(): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(OPENAI|AZURE|USHER|OTEL|PG|NODE_OPTIONS|VITEST)/u.test(name),
  );
  return Object.fromEntries(kept.map(([name, value]) => [name, value ?? '']));
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Already gone.
  }
}

async function killGroup(
  child: ChildProcess,
  signal: NodeJS.Signals,
): Promise<{ code: number | null; signal: string | null }> {
  if (child.exitCode === null && child.signalCode === null) {
    const exited = once(child, 'exit');
    signalGroup(child, signal);
    await exited;
  }
  return { code: child.exitCode, signal: child.signalCode };
}

/** Whether it ended by itself. */
async function endGently(child: ChildProcess): Promise<boolean> {
  let hasEnded = true;
  const timer = setTimeout(() => {
    hasEnded = false;
    signalGroup(child, 'SIGKILL');
  }, stopTimeoutMs);
  await killGroup(child, 'SIGTERM');
  clearTimeout(timer);
  return hasEnded;
}
