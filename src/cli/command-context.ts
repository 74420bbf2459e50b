import { UsherError } from '#base';
import type { Config, ConfigProblem, Flags, Secrets } from '#config';
import { formatConfigProblem, loadConfig } from '#config';
import type { Store } from '#store';
import type { NodeMeans, WatchOptions } from '#control';
import type { RootKeys } from '#vault';

/** What every command stands on, handed in by the entry. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly version: string;
  /** The composition root, loaded only by commands that need it, so that the others start at once. */
  readonly main: () => Promise<CompositionRoot>;
}

/** What the commands need of the composition root, which lies above this room. */
export interface CompositionRoot {
  readonly openUsher: (options: {
    readonly config: Config;
    readonly secrets: Secrets;
    readonly version: string;
  }) => Promise<RunningUsher>;
  /** Store and keys alone, beside a server that may be running. */
  readonly openRooms: (config: Config, secrets: Secrets, options: { readonly owner: false }) => Promise<OpenedRooms>;
  /** What assistant folders are checked against; undefined: they are not. */
  readonly folderMeansOf: (config: Config) => NodeMeans | undefined;
}

export interface RunningUsher {
  readonly url: string;
  /** Undefined on a node that serves no pages, or does not know yet which. */
  readonly chatUrl: string | undefined;
  /** Undefined where the owner manages keys on purpose. */
  readonly apiKey: string | undefined;
  /** Which model answers and why, in a sentence. */
  readonly models: string;
  /** Reloads assistants on save until disposed. */
  watch(options: WatchOptions): Promise<AsyncDisposable>;
  close(): Promise<void>;
}

export interface OpenedRooms extends AsyncDisposable {
  readonly store: Store;
  readonly roots: RootKeys;
}

/** What a command was asked cannot be done. The message is one sentence with the mend; `details` stand above it. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly details: readonly string[];

  constructor(message: string, details: readonly string[] = [], options: { cause?: unknown } = {}) {
    super(message, options);
    this.details = details;
  }
}

/** Options that every command takes which reads the configuration. */
export interface ConfigOptions {
  readonly config?: string;
  readonly data?: string;
}

/** @throws CommandFailure with every problem, where it stands and its mend. */
export async function configured(
  context: CommandContext,
  options: ConfigOptions,
  flags: Flags = {},
): Promise<{ readonly config: Config; readonly secrets: Secrets }> {
  const loaded = await loadConfig({
    env: context.env,
    cwd: context.cwd,
    flags: { ...flags, ...(options.data === undefined ? {} : { data: options.data }) },
    ...(options.config === undefined ? {} : { path: options.config }),
  });
  if (loaded.ok) return loaded;
  throw configFailure(loaded.problems);
}

function configFailure(problems: readonly ConfigProblem[]): CommandFailure {
  const [only] = problems;
  if (problems.length === 1 && only !== undefined) return new CommandFailure(formatConfigProblem(only));
  return new CommandFailure(
    `${problems.length} problems in the configuration; mend them and start again`,
    problems.map((problem) => formatConfigProblem(problem)),
  );
}

/** What is printed of a failure: one sentence and the mend; the stack only with `--debug`. */
export function describeFailure(error: unknown, debug: boolean): string {
  const lines = error instanceof CommandFailure ? [...error.details] : [];
  if (error instanceof CommandFailure || error instanceof UsherError) lines.push(`usher: ${error.message}`);
  else if (isSystemError(error)) lines.push(`usher: ${systemSentence(error)}`);
  else {
    lines.push(
      `usher: a defect in Usher (${error instanceof Error ? error.message : String(error)}); run it again with --debug and report what it prints`,
    );
  }
  if (debug && error instanceof Error) lines.push(error.stack ?? '', ...causes(error));
  return lines.join('\n');
}

function causes(error: Error): string[] {
  return error.cause instanceof Error ? [`caused by ${error.cause.stack}`, ...causes(error.cause)] : [];
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && 'syscall' in error;
}

function systemSentence(error: NodeJS.ErrnoException): string {
  const what = error.path ?? error.syscall ?? 'the system';
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
      return `${what} may not be used by this user; change its owner or mode, or choose another place`;
    case 'ENOSPC':
      return `the disk is full (${what}); make room and try again`;
    case 'EROFS':
      return `${what} is on a read-only disk; choose another place with --data`;
    case 'ENOENT':
      return `${what} does not exist; check the path`;
    case 'EMFILE':
    case 'ENFILE':
      return 'too many open files; raise the limit with: ulimit -n 65536';
    default:
      return `${error.message}; run again with --debug to see where`;
  }
}
