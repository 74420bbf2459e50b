import { startLoad } from '#test/load-driver';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from './bench-run.ts';
import { residentBytes } from './process-meter.ts';
import type { Subject } from './subject.ts';

const ratePerSecond = 20;
/** What a stop of the load may leave open. */
const answerSeconds = 3;
const sampleMs = 1000;
/** Caches and compiled code fill for minutes: the drift of a shorter run tells nothing. */
const longSeconds = 1800;
const mebibyte = 1024 * 1024;
/** Memory swings by the collector's own rhythm: the highest of a tenth of the run is compared with the highest of another. */
const partsOfRun = 10;

/**
 * Memory of a process that is busy for long: streamed responses, each stored, 60 tokens within three
 * seconds, one after the other over SQLite. What a turn leaves behind would show as drift.
 */
export const benchSoak: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator());
  const { usher } = await run.eachSubject(['usher'], simulator, (subject) => soak(subject, run.seconds));
  return [
    { name: 'stored responses', unit: 'count', usher: usher?.done },
    { name: 'resident, highest of the second tenth', unit: 'MiB', usher: usher?.early },
    { name: 'resident, highest of the last tenth', unit: 'MiB', usher: usher?.late },
    {
      name: 'drift',
      unit: 'MiB',
      usher: usher && usher.late - usher.early,
      ...(run.seconds >= longSeconds && { budget: 32 }),
    },
  ];
};

async function soak(subject: Subject, seconds: number): Promise<{ done: number; early: number; late: number }> {
  await using load = await startLoad({
    url: `${subject.url}/v1/responses`,
    headers: subject.headers,
    body: JSON.stringify({
      model: subject.model,
      input: `Where is row seven? [[sim:tokens ${20 * answerSeconds}]][[sim:pace 50]]`,
      stream: true,
    }),
    ratePerSecond,
    count: ratePerSecond * seconds,
  });
  const samples: number[] = [];
  while (samples.length < seconds) {
    await sleep(sampleMs);
    samples.push(residentBytes(subject.pid));
  }
  const report = await load.report;
  if (report.failed > 0) throw new Error(`${report.failed} of ${report.sent} failed: ${JSON.stringify(report.errors)}`);
  const part = Math.ceil(samples.length / partsOfRun);
  // The first tenth fills what is filled once.
  const early = Math.max(...samples.slice(part, 2 * part)) / mebibyte;
  return { done: report.done, early, late: Math.max(...samples.slice(-part)) / mebibyte };
}
