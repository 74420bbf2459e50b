import { fork, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsherError, siblingModule } from '#base';
import { BackendFailure, type Backend } from '../port.ts';
import { openOpenAiBackend } from '../openai/openai-backend.ts';
import type { HostReply, HostStart } from './host-protocol.ts';
import { isRuntimeInstalled } from './install-runtime.ts';

export interface LocalBackendOptions {
  readonly name: string;
  /** A GGUF file. */
  readonly modelPath: string;
  readonly contextTokens?: number | undefined;
  /** Where `installLocalRuntime` put the runtime. */
  readonly runtimeDir: string;
}

/** A large model on a slow disk takes minutes. */
const loadMs = 300_000;
const closeMs = 3_000;
const firstPauseMs = 500;
const longestPauseMs = 30_000;
/** A child that lived this long had nothing wrong with it from the start. */
const healthyMs = 60_000;

const failures = {
  runtime: 'its runtime does not start on this machine: install it anew with `usher model`',
  model: 'its file is no model that the runtime can read: give a GGUF file of a chat model',
  memory: 'it does not fit into memory: take a smaller model, or set a smaller `contextTokens`',
} as const;

/** One life of the child process. */
interface Host {
  readonly child: ChildProcess;
  readonly wire: Backend;
  readonly startMs: number;
}

/**
 * A backend that runs a GGUF model in a process of its own and speaks the OpenAI wire with it.
 * Settles when the model is loaded; a process that dies later is started again with growing
 * pauses, and meanwhile the backend fails to connect.
 * @throws UsherError `config_invalid` where runtime or model cannot be used
 */
export async function openLocalBackend(options: LocalBackendOptions): Promise<Backend> {
  await checkFiles(options);
  const supervisor = new Supervisor(options);
  await supervisor.start();
  const absent = (): BackendFailure =>
    new BackendFailure('connect', options.name, `The model of backend "${options.name}" is starting again.`);
  return {
    name: options.name,
    description: `${basename(options.modelPath, '.gguf')} on this machine`,
    answer: async (request, sink, timeouts, signal) => {
      if (supervisor.host === undefined) throw absent();
      // The child has one model, whatever name the request gives.
      return supervisor.host.wire.answer({ ...request, model: 'local' }, sink, timeouts, signal);
    },
    probe: async (signal) => {
      if (supervisor.host === undefined) throw absent();
      await supervisor.host.wire.probe(signal);
      return { models: [basename(options.modelPath)] };
    },
    close: () => supervisor.close(),
  };
}

/** Starts the child, starts it again when it dies, and ends it. */
class Supervisor {
  readonly #options: LocalBackendOptions;
  #host: Host | undefined;
  #starting: ChildProcess | undefined;
  #pauseMs = firstPauseMs;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: LocalBackendOptions) {
    this.#options = options;
  }

  get host(): Host | undefined {
    return this.#host;
  }

  /** @throws UsherError where the child cannot serve */
  async start(): Promise<void> {
    const token = randomBytes(32).toString('hex');
    const child = spawnHost();
    this.#starting = child;
    try {
      const { port } = await whenReady(child, this.#options, token);
      const { name } = this.#options;
      const url = `http://127.0.0.1:${port}/v1`;
      const wire = openOpenAiBackend({ name, kind: 'openai-compatible', url, model: 'local', apiKey: token });
      this.#host = { child, wire, startMs: performance.now() };
      child.once('exit', () => this.#onExit());
      // It may have died between its word and ours.
      if (child.exitCode !== null || child.signalCode !== null) this.#onExit();
    } finally {
      this.#starting = undefined;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    const host = this.#host;
    this.#host = undefined;
    await Promise.all([host?.wire.close(), host && end(host.child), this.#starting && end(this.#starting)]);
  }

  #onExit(): void {
    const host = this.#host;
    if (host === undefined) return;
    this.#host = undefined;
    void host.wire.close();
    if (performance.now() - host.startMs > healthyMs) this.#pauseMs = firstPauseMs;
    this.#startLater();
  }

  #startLater(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.start().catch(() => this.#startLater());
    }, this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs);
  }
}

/** Without our environment: the child runs a library that has no business with our secrets. */
function spawnHost(): ChildProcess {
  return fork(fileURLToPath(siblingModule(import.meta.url, 'host')), [], {
    execArgv: [],
    env: {},
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
}

async function whenReady(
  child: ChildProcess,
  options: LocalBackendOptions,
  token: string,
): Promise<HostReply & { readonly type: 'ready' }> {
  const { modelPath, contextTokens, runtimeDir } = options;
  const start: HostStart = { modelPath, contextTokens, runtimeDir, token };
  const stopWaiting = new AbortController();
  const timer = setTimeout(() => stopWaiting.abort(), loadMs);
  child.once('exit', () => stopWaiting.abort());
  try {
    child.send(start);
    const [reply] = (await once(child, 'message', { signal: stopWaiting.signal })) as [HostReply];
    if (reply.type === 'ready') return reply;
    throw unusable(options, failures[reply.reason]);
  } catch (error) {
    await end(child);
    if (error instanceof UsherError) throw error;
    throw unusable(options, 'its process ended or hung while it loaded: the model may need more memory than there is');
  } finally {
    clearTimeout(timer);
  }
}

/** SIGTERM, and SIGKILL for one that does not hear. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const whenGone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), closeMs);
  await whenGone;
  clearTimeout(timer);
}

async function checkFiles(options: LocalBackendOptions): Promise<void> {
  if (!(await isRuntimeInstalled(options.runtimeDir))) {
    throw unusable(options, 'its runtime is not installed: install it with `usher model`');
  }
  await access(options.modelPath).catch(() => {
    throw unusable(options, `its file ${options.modelPath} cannot be read: check the path`);
  });
}

function unusable(options: LocalBackendOptions, what: string): UsherError {
  return new UsherError('config_invalid', `Backend "${options.name}" cannot run its model: ${what}.`);
}
