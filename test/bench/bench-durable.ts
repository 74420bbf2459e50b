import OpenAI from 'openai';
import type { Bench } from './bench-run.ts';
import { measureLoad } from './measured-load.ts';
import type { Subject } from './subject.ts';

const rounds = 100;
const resumes = 20;
const longTokens = 1990;
const chunks = 100;
const chunkMs = 20;
const streamsPerSecond = 5;

/**
 * What durability costs, over SQLite: how soon a stored streamed response begins, how soon a long one
 * is heard again, and what flushing its events adds to relaying them.
 */
export const benchDurable: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator());
  const { usher } = await run.eachSubject(['usher'], simulator, async (subject) => {
    const client = new OpenAI({ baseURL: `${subject.url}/v1`, apiKey: keyOf(subject), maxRetries: 0 });
    const begun = await beginnings(client, subject.model);
    const resumeMs = await heardAgain(client, subject.model);
    const plain = await cpuPerChunk(subject, run.seconds, false);
    const stored = await cpuPerChunk(subject, run.seconds, true);
    return { ...begun, resumeMs, plain, stored };
  });
  return [
    { name: 'first event of a stored response p50', unit: 'ms', usher: usher?.firstEventMs, budget: 10 },
    { name: 'first delta of it p50', unit: 'ms', usher: usher?.firstDeltaMs },
    { name: `${longTokens}-delta response heard again p50`, unit: 'ms', usher: usher?.resumeMs, budget: 50 },
    { name: 'processor time per chunk, not stored', unit: 'us', usher: usher?.plain },
    { name: 'processor time per chunk, stored', unit: 'us', usher: usher?.stored },
  ];
};

function keyOf(subject: Subject): string {
  return subject.headers['authorization']?.replace('Bearer ', '') ?? '';
}

async function beginnings(client: OpenAI, model: string): Promise<{ firstEventMs: number; firstDeltaMs: number }> {
  const events: number[] = [];
  const deltas: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const sentMs = performance.now();
    const stream = await client.responses.create({ model, input: '[[sim:tokens 3]]', stream: true });
    let isFirst = true;
    for await (const event of stream) {
      if (isFirst) events.push(performance.now() - sentMs);
      isFirst = false;
      if (event.type === 'response.output_text.delta') {
        deltas.push(performance.now() - sentMs);
        break;
      }
    }
    await stream
      .toReadableStream()
      .cancel()
      .catch(() => undefined);
  }
  return { firstEventMs: median(events), firstDeltaMs: median(deltas) };
}

/** From the request to the last byte; the first tries warm up. */
async function heardAgain(client: OpenAI, model: string): Promise<number> {
  const { id } = await client.responses.create({ model, input: `[[sim:tokens ${longTokens}]]` });
  const times: number[] = [];
  for (let round = 0; round < resumes; round += 1) {
    const sentMs = performance.now();
    const response = await client.responses.retrieve(id, { stream: true }).asResponse();
    await response.arrayBuffer();
    times.push(performance.now() - sentMs);
  }
  return median(times);
}

async function cpuPerChunk(subject: Subject, seconds: number, isStored: boolean): Promise<number> {
  const command = `[[sim:tokens ${chunks}]][[sim:pace ${chunkMs}]]`;
  const input = `Where is row seven? ${command}`;
  const body = JSON.stringify({ model: subject.model, input, stream: true, store: isStored });
  const path = '/v1/responses';
  const { report, cpuUs } = await measureLoad(subject, {
    path,
    body,
    ratePerSecond: streamsPerSecond,
    count: streamsPerSecond * seconds,
  });
  return cpuUs / (report.done * chunks);
}

function median(values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}
