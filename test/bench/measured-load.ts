import { startLoad, type LoadPlan, type LoadReport } from '#test/load-driver';
import { cpuUs } from './process-meter.ts';
import type { Subject } from './subject.ts';

export interface MeasuredLoad {
  readonly report: LoadReport;
  /** Processor time of the subject during the load, in microseconds. */
  readonly cpuUs: number;
}

/** What differs from load to load; the rest is the subject's. */
export type BenchLoad = Omit<LoadPlan, 'url' | 'headers'> & { readonly path: string };

/** Until the engine has compiled what is hot: after 3 s a request still cost up to 1.5 times what it did after 15. */
const warmUpSeconds = 12;

/**
 * Warms the subject up with the same load, then measures one whole load.
 * @throws Error where a request failed: a figure over failures means nothing
 */
export async function measureLoad(subject: Subject, load: BenchLoad): Promise<MeasuredLoad> {
  await drive(subject, { ...load, count: Math.ceil(load.ratePerSecond * warmUpSeconds) });
  const before = cpuUs(subject.pid);
  const report = await drive(subject, load);
  return { report, cpuUs: cpuUs(subject.pid) - before };
}

async function drive(subject: Subject, { path, ...load }: BenchLoad): Promise<LoadReport> {
  await using running = await startLoad({ ...load, url: `${subject.url}${path}`, headers: subject.headers });
  const report = await running.report;
  if (report.failed === 0) return report;
  throw new Error(
    `${report.failed} of ${report.sent} requests to ${subject.name} failed: ${JSON.stringify(report.errors)}`,
  );
}

/** A chat completion whose answer the simulator is commanded to give. */
export function chatBody(subject: Subject, command: string, stream: boolean): string {
  const messages = [{ role: 'user', content: `Where is row seven? ${command}` }];
  return JSON.stringify({ model: subject.model, messages, stream, store: false });
}
