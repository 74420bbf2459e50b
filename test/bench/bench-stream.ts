import { startLoad, type Quantiles } from '#test/load-driver';
import type { ModelSimulator } from '#test/model-simulator';
import type { Bench } from './bench-run.ts';
import { chatBody, measureLoad } from './measured-load.ts';

const streams = 500;
const tokens = 50;
const tokenMs = 100;

const controlPerSecond = 40;

/**
 * Streams of 50 tokens, ten a second each; about 500 are open at once. What a subject adds to the
 * first token is told from a control that goes past it, to the same simulator at the same time, so
 * that the machine's own noise is in both.
 */
export const benchStream: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator());
  const ratePerSecond = streams / ((tokens * tokenMs) / 1000);
  const { usher, nginx } = await run.eachSubject(['usher', 'nginx'], simulator, async (subject) => {
    // The first five seconds fill the 500 places.
    const seconds = run.seconds + (tokens * tokenMs) / 1000;
    const body = chatBody(subject, `[[sim:tokens ${tokens}]][[sim:pace ${tokenMs}]]`, true);
    const path = '/v1/chat/completions';
    const [measured, control] = await Promise.all([
      measureLoad(subject, { path, body, ratePerSecond, count: ratePerSecond * seconds }),
      driveControl(simulator, seconds),
    ]);
    const { fromSend, events } = measured.report;
    return {
      cpu: measured.cpuUs / events,
      p50: fromSend.p50 - control.p50,
      p99: fromSend.p99 - control.p99,
      controlP99: control.p99,
    };
  });
  return [
    { name: 'processor time per chunk', unit: 'us', usher: usher?.cpu, nginx: nginx?.cpu, budget: 60 },
    { name: 'added time to first token p50', unit: 'ms', usher: usher?.p50, nginx: nginx?.p50 },
    { name: 'added time to first token p99', unit: 'ms', usher: usher?.p99, nginx: nginx?.p99, budget: 5 },
    { name: 'first token p99 past it', unit: 'ms', usher: usher?.controlP99, nginx: nginx?.controlP99 },
  ];
};

/** Short streams straight to the simulator while a subject is under load. */
async function driveControl(simulator: ModelSimulator, seconds: number): Promise<Quantiles> {
  const messages = [{ role: 'user', content: 'Where is row seven? [[sim:tokens 2]]' }];
  await using control = await startLoad({
    url: `${simulator.url}/v1/chat/completions`,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'simulated', messages, stream: true }),
    ratePerSecond: controlPerSecond,
    count: Math.floor(controlPerSecond * seconds),
  });
  return (await control.report).fromSend;
}
