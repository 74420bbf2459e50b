import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A Node process that said on its first line of output that it is ready. */
export interface Child {
  readonly pid: number;
  /** The first line, parsed. */
  readonly ready: unknown;
  /** Further lines, in order; the queue ends with the process. */
  readonly lines: AsyncIterableIterator<string>;
  /** Writes to its standard input. */
  write(text: string): void;
  /** What it wrote to its standard error so far. */
  errors(): string;
  /** Ends its standard input, on which it leaves; kills it if it does not within two seconds. */
  stop(): Promise<void>;
}

/**
 * Starts a script that prints one JSON line when it is ready and leaves when its standard input
 * ends, so that it cannot outlive the test that started it.
 * @throws Error with its standard error if it ends or is silent for 15 seconds
 */
export async function startChild(script: URL, args: readonly string[]): Promise<Child> {
  const child = spawn(process.execPath, [fileURLToPath(script), ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-8192);
  });
  child.stdin.on('error', () => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await withinStart(child, lines.next());
  if (first === undefined || first.done === true) throw new Error(`${script.pathname} did not start: ${errors}`);
  return {
    pid: child.pid ?? 0,
    ready: JSON.parse(first.value) as unknown,
    lines: lines as AsyncIterableIterator<string>,
    write: (text) => void child.stdin.write(text),
    errors: () => errors,
    stop: () => stopChild(child),
  };
}

async function withinStart<T>(child: ChildProcess, first: Promise<T>): Promise<T | undefined> {
  const timer = setTimeout(() => child.kill('SIGKILL'), 15_000);
  try {
    return await first;
  } finally {
    clearTimeout(timer);
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.stdin?.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), 2000);
  await exited;
  clearTimeout(timer);
}
