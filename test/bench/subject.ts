import { startUsher } from '#test/process';
import { usherFiles } from '#test/usher-files';
import { startModelSimulator, type ModelSimulator, type SimulatorOptions } from '#test/model-simulator';
import { findNginx, startNginx } from './nginx.ts';

export type SubjectName = 'nginx' | 'usher';

/** What is measured: Usher, or nginx as its measure. */
export interface Subject {
  readonly name: SubjectName;
  /** Without the path. */
  readonly url: string;
  /** The model name to ask for. */
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly pid: number;
  readonly startMs: number;
}

const plainHeaders = { 'content-type': 'application/json' };

/** The simulator that backs a bench: nothing recorded, nothing cached. */
export function startBenchSimulator(options: Partial<SimulatorOptions> = {}): Promise<ModelSimulator> {
  return startModelSimulator({ journalMax: 0, cacheBlocks: 0, ...options });
}

/**
 * Starts a subject before the simulator; undefined where this machine has no nginx. The caller's
 * stack ends it. `profileDir`: Usher writes its processor profiles there when it ends.
 */
export async function startSubject(
  name: SubjectName,
  simulator: ModelSimulator,
  stack: AsyncDisposableStack,
  profileDir: string | undefined,
): Promise<Subject | undefined> {
  if (name === 'nginx') {
    const path = findNginx();
    if (path === undefined) return undefined;
    const nginx = stack.use(await startNginx(path, simulator.url));
    return { name, url: nginx.url, model: 'simulated', headers: plainHeaders, pid: nginx.pid, startMs: 0 };
  }
  const env = profileDir === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profileDir}` };
  const usher = stack.use(await startUsher({ ...usherFiles([simulator.baseUrl]), env }));
  const headers = { ...plainHeaders, authorization: `Bearer ${usher.apiKey}` };
  return { name, url: usher.url, model: 'usher-test', headers, pid: usher.pid, startMs: usher.startMs };
}
