import type { Bench } from './bench-run.ts';
import { chatBody, measureLoad } from './measured-load.ts';

const ratePerSecond = 1000;

/** Chat Completions that are not stored: a short answer in one piece. */
export const benchProxy: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator());
  const measured = await run.eachSubject(['usher', 'nginx'], simulator, async (subject) => {
    const body = chatBody(subject, '[[sim:tokens 8]]', false);
    const count = ratePerSecond * run.seconds;
    const load = await measureLoad(subject, { path: '/v1/chat/completions', body, ratePerSecond, count });
    return {
      cpu: load.cpuUs / count,
      p50: load.report.whole.p50,
      p99: load.report.whole.p99,
      startMs: subject.startMs,
    };
  });
  const { usher, nginx } = measured;
  return [
    { name: 'processor time per request', unit: 'us', usher: usher?.cpu, nginx: nginx?.cpu, budget: 150 },
    { name: 'whole answer p50', unit: 'ms', usher: usher?.p50, nginx: nginx?.p50 },
    { name: 'whole answer p99', unit: 'ms', usher: usher?.p99, nginx: nginx?.p99 },
    { name: 'start until it serves', unit: 'ms', usher: usher?.startMs, budget: 2000 },
  ];
};
