import OpenAI from 'openai';
import type { ModelSimulator } from '#test/model-simulator';
import type { Bench } from './bench-run.ts';
import { measureLoad } from './measured-load.ts';
import type { Subject } from './subject.ts';

const rounds = 100;
const resumes = 20;
const longTokens = 1990;
/** Long enough that what a stored turn costs once, its beginning and its record, is little of a chunk. */
const chunks = 400;
const chunkMs = 20;
const streamsPerSecond = 2;
/** Stored and not, one after the other: the machine is not the same from one minute to the next. */
const slices = 3;

/**
 * What durability costs, over SQLite: how soon a stored streamed response begins, how soon a long one
 * is heard again, and what flushing its events adds to relaying them.
 */
export const benchDurable: Bench = async (run) => {
  await using stack = new AsyncDisposableStack();
  const simulator = stack.use(await run.simulator({ journalMax: rounds }));
  const { usher } = await run.eachSubject(['usher'], simulator, async (subject) => {
    const client = new OpenAI({ baseURL: `${subject.url}/v1`, apiKey: keyOf(subject), maxRetries: 0 });
    const begun = await beginnings(client, subject.model, simulator);
    const resumeMs = await heardAgain(client, subject.model);
    const plain: number[] = [];
    const stored: number[] = [];
    for (let slice = 0; slice < slices; slice += 1) {
      plain.push(await cpuPerChunk(subject, run.seconds, false));
      stored.push(await cpuPerChunk(subject, run.seconds, true));
    }
    return { ...begun, resumeMs, plain: median(plain), stored: median(stored) };
  });
  return [
    { name: 'first event of a stored response p50', unit: 'ms', usher: usher?.firstEventMs, budget: 10 },
    { name: 'first delta of it after the backend’s p50', unit: 'ms', usher: usher?.firstDeltaMs, budget: 5 },
    { name: `${longTokens}-delta response heard again p50`, unit: 'ms', usher: usher?.resumeMs, budget: 50 },
    { name: 'processor time per chunk, not stored', unit: 'us', usher: usher?.plain },
    { name: 'processor time per chunk, stored', unit: 'us', usher: usher?.stored },
  ];
};

function keyOf(subject: Subject): string {
  return subject.headers['authorization']?.replace('Bearer ', '') ?? '';
}

/** The backend says itself when it sent its first delta, by the clock that this process has too. */
async function beginnings(
  client: OpenAI,
  model: string,
  simulator: ModelSimulator,
): Promise<{ firstEventMs: number; firstDeltaMs: number }> {
  const events: number[] = [];
  const heardAt: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const sentMs = performance.now();
    const stream = await client.responses.create({ model, input: '[[sim:tokens 3]]', stream: true });
    let isFirst = true;
    for await (const event of stream) {
      if (isFirst) events.push(performance.now() - sentMs);
      isFirst = false;
      if (event.type === 'response.output_text.delta') {
        heardAt.push(performance.timeOrigin + performance.now());
        break;
      }
    }
    await stream
      .toReadableStream()
      .cancel()
      .catch(() => undefined);
  }
  const { requests } = await simulator.log();
  const sentAt = requests.slice(-rounds).map(({ firstTokenAt = NaN }) => firstTokenAt);
  const deltas = heardAt.map((atMs, round) => atMs - (sentAt[round] ?? NaN));
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
