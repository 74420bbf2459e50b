import type { ErrorCode } from '#base';
import type { Call } from '../operations/calls.ts';

/** What the main thread starts a worker with. */
export interface WorkerSetup {
  readonly path: string;
  readonly lane: 'write' | 'read';
  /** Hold the database as the one serving process. */
  readonly owner: boolean;
  readonly bytesMax: number | undefined;
}

/** An UsherError on its way between threads. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

export type Settled = { readonly answer: unknown } | { readonly refusal: Refusal };

/** Main thread to worker: first to open, then calls to run, at last to close. */
export type ToWorker = 'open' | { readonly calls: readonly Call[] } | 'close';

/** Worker to main thread: whether it opened, then one answer for each message of calls. */
export type FromWorker = { readonly opened: Settled } | { readonly settled: readonly Settled[] };
