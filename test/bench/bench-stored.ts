import type { Bench } from './bench-run.ts';
import { chatBody, measureLoad } from './measured-load.ts';

const ratePerSecond = 200;

/** Responses that are stored, over SQLite, with an answer of one token; nginx only passes one on. */
export const benchStored: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator());
  const command = '[[sim:tokens 1]]';
  const measured = await run.eachSubject(['usher', 'nginx'], simulator, async (subject) => {
    const isUsher = subject.name === 'usher';
    const stored = JSON.stringify({ model: subject.model, input: `Where is row seven? ${command}`, store: true });
    const { report, cpuUs } = await measureLoad(subject, {
      path: isUsher ? '/v1/responses' : '/v1/chat/completions',
      body: isUsher ? stored : chatBody(subject, command, false),
      ratePerSecond,
      count: ratePerSecond * run.seconds,
    });
    return { cpu: cpuUs / report.done, p50: report.whole.p50, p99: report.whole.p99 };
  });
  const { usher, nginx } = measured;
  return [
    { name: 'processor time per stored turn', unit: 'us', usher: usher?.cpu, nginx: nginx?.cpu, budget: 600 },
    { name: 'whole turn p50', unit: 'ms', usher: usher?.p50, nginx: nginx?.p50 },
    { name: 'whole turn p99', unit: 'ms', usher: usher?.p99, nginx: nginx?.p99 },
  ];
};
