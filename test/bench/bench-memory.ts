import { startLoad } from '#test/load-driver';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from './bench-run.ts';
import { chatBody } from './measured-load.ts';
import { residentBytes } from './process-meter.ts';
import type { Subject } from './subject.ts';

const openStreams = 5000;
const slowReaders = 20;
const mebibyte = 1024 * 1024;
/** Until all streams are open, at the most. */
const setUpSeconds = 120;

/** Memory of 5,000 open streams with a token a second each, and under readers far slower than the model. */
export const benchMemory: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator());
  const measured = await run.eachSubject(['usher', 'nginx'], simulator, async (subject) => ({
    ...(await holdStreams(subject, run.seconds)),
    slow: await feedSlowReaders(subject, run.seconds),
  }));
  const { usher, nginx } = measured;
  return [
    {
      name: `resident with ${openStreams} open streams`,
      unit: 'MiB',
      usher: usher?.held,
      nginx: nginx?.held,
      budget: 1024,
    },
    { name: 'resident per open stream', unit: 'KiB', usher: usher?.perStream, nginx: nginx?.perStream },
    { name: `drift over ${run.seconds} s`, unit: 'MiB', usher: usher?.drift, nginx: nginx?.drift },
    { name: `growth under ${slowReaders} slow readers`, unit: 'MiB', usher: usher?.slow, nginx: nginx?.slow },
  ];
};

async function holdStreams(
  subject: Subject,
  seconds: number,
): Promise<{ held: number; perStream: number; drift: number }> {
  const idle = residentBytes(subject.pid);
  await using load = await startLoad({
    url: `${subject.url}/v1/chat/completions`,
    headers: subject.headers,
    body: chatBody(subject, `[[sim:tokens ${seconds + setUpSeconds}]][[sim:pace 1000]]`, true),
    ratePerSecond: 500,
    count: openStreams,
    timeoutMs: (seconds + setUpSeconds) * 1000,
  });
  const deadline = performance.now() + 60_000;
  while (load.progress().open < openStreams && performance.now() < deadline) await sleep(200);
  const { open } = load.progress();
  if (open !== openStreams) throw new Error(`only ${open} of ${openStreams} streams of ${subject.name} are open`);
  // Two tokens later every stream has had its first.
  await sleep(2000);
  const samples: number[] = [];
  for (let second = 0; second < seconds; second += 1) {
    await sleep(1000);
    samples.push(residentBytes(subject.pid));
  }
  const held = Math.max(...samples);
  const drift = (samples.at(-1) ?? 0) - (samples[0] ?? 0);
  await load.finish();
  return { held: held / mebibyte, perStream: (held - idle) / openStreams / 1024, drift: drift / mebibyte };
}

/** Answers of some 80 MB as fast as they are taken, to readers who take 20 kB a second. */
async function feedSlowReaders(subject: Subject, seconds: number): Promise<number> {
  const idle = residentBytes(subject.pid);
  await using load = await startLoad({
    url: `${subject.url}/v1/chat/completions`,
    headers: subject.headers,
    body: chatBody(subject, '[[sim:tokens 20000]][[sim:width 4096]]', true),
    ratePerSecond: slowReaders,
    count: slowReaders,
    readBytesPerSecond: 20_000,
    timeoutMs: (seconds + setUpSeconds) * 1000,
  });
  let most = 0;
  for (let sample = 0; sample < seconds * 5; sample += 1) {
    await sleep(200);
    most = Math.max(most, residentBytes(subject.pid));
  }
  await load.finish();
  return (most - idle) / mebibyte;
}
