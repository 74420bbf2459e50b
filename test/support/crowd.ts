import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { startLoad, type LoadReport } from './load-driver.ts';
import type { ModelSimulator } from './model-simulator.ts';

/** Connections to a database, as it counts them itself. */
export interface Connections {
  /** The most at once. */
  readonly open: number;
  /** The most at once that were in a transaction or a statement. */
  readonly busy: number;
  /** The share of moments at which none was. */
  readonly idleShare: number;
}

/** What came of many streams that were open together. */
export interface Crowd {
  /** How many were open at once while their model thought. */
  readonly open: number;
  readonly thinking: Connections;
  readonly whole: Connections;
  readonly report: LoadReport;
}

export interface CrowdOptions {
  /** Where the streams are asked for, without the path. */
  readonly url: string;
  readonly apiKey: string;
  readonly model: string;
  /** What thinks: it is silent until every stream has reached it, and is let go then. */
  readonly simulator: ModelSimulator;
  /** Of the database that the nodes share. */
  readonly databaseUrl: string;
  readonly streams: number;
  readonly ratePerSecond: number;
  readonly tokens: number;
  readonly paceMs: number;
}

/** How long the database is watched while all models think: several renewals of the leases. */
const thinkMs = 3000;
const untilAllThinkMs = 60_000;

/** Holds so many stored streams open at once, each before a model that thinks and then speaks slowly. */
export async function holdCrowd(options: CrowdOptions): Promise<Crowd> {
  const { url, apiKey, model, simulator, databaseUrl, streams, ratePerSecond, tokens, paceMs } = options;
  const input = `[[sim:hang]] [[sim:pace ${paceMs}]] [[sim:tokens ${tokens}]]`;
  await using watch = await watchConnections(databaseUrl);
  await using load = await startLoad({
    url: `${url}/v1/responses`,
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model, input, stream: true, store: true }),
    ratePerSecond,
    count: streams,
    timeoutMs: 120_000,
  });
  await simulator.until(({ totals }) => totals.requests >= streams, untilAllThinkMs);
  // Of the last one the first events are written still.
  await delay(1000);
  const from = watch.samples.length;
  await delay(thinkMs);
  const thinking = summary(watch.samples.slice(from));
  const { open } = load.progress();
  await simulator.control({ do: 'release' });
  const report = await load.report;
  return { open, thinking, whole: summary(watch.samples), report };
}

interface Sample {
  readonly open: number;
  readonly busy: number;
}

async function watchConnections(url: string): Promise<{ readonly samples: Sample[] } & AsyncDisposable> {
  const client = new Client({ connectionString: url, application_name: 'watch' });
  await client.connect();
  const samples: Sample[] = [];
  const ended = new AbortController();
  const watching = (async () => {
    while (!ended.signal.aborted) {
      const { rows } = await client.query<Sample>(
        `select count(*)::int as open, (count(*) filter (where state <> 'idle'))::int as busy
           from pg_stat_activity where datname = current_database() and application_name like 'usher%'`,
      );
      samples.push(rows[0]!);
      await delay(10);
    }
  })();
  return {
    samples,
    async [Symbol.asyncDispose]() {
      ended.abort();
      await watching;
      await client.end();
    },
  };
}

function summary(samples: readonly Sample[]): Connections {
  return {
    open: Math.max(...samples.map(({ open }) => open)),
    busy: Math.max(...samples.map(({ busy }) => busy)),
    idleShare: samples.filter(({ busy }) => busy === 0).length / samples.length,
  };
}
