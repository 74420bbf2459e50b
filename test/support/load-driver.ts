import { startChild, type Child } from './child.ts';
import type { LoadPlan, LoadProgress, LoadReport, Quantiles } from './load-driver/load-plan.ts';

export type { LoadPlan, LoadReport, Quantiles };

/** A load that a process of its own drives. */
export interface Load extends AsyncDisposable {
  readonly pid: number;
  /** As of at most a fifth of a second ago. */
  progress(): LoadProgress;
  /** Settles when every request is over. */
  readonly report: Promise<LoadReport>;
  /** Breaks off what is open and gives the report so far. */
  finish(): Promise<LoadReport>;
}

/** Starts open-loop load against one URL from a process of its own, so that it shares no event loop with what it measures. */
export async function startLoad(plan: LoadPlan): Promise<Load> {
  const child = await startChild(new URL('./load-driver/main.ts', import.meta.url), [JSON.stringify(plan)]);
  let latest: LoadProgress = { sent: 0, open: 0, done: 0, failed: 0, events: 0 };
  const report = readReport(child, (progress) => {
    latest = progress;
  });
  // Whoever disposes of a load before its end wants no report; whoever awaits it still sees the error.
  report.catch(() => {});
  return {
    pid: child.pid,
    progress: () => latest,
    report,
    async finish() {
      child.write('stop\n');
      return report;
    },
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

async function readReport(child: Child, onProgress: (progress: LoadProgress) => void): Promise<LoadReport> {
  for await (const line of child.lines) {
    const { progress, report } = JSON.parse(line) as { progress?: LoadProgress; report?: LoadReport };
    if (progress !== undefined) onProgress(progress);
    if (report !== undefined) return report;
  }
  throw new Error(`the load driver ended without its report: ${child.errors()}`);
}
