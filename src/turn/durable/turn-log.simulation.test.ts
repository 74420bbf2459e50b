import { afterEach, expect, test, vi } from 'vitest';
import { seededRandom } from '#base';
import { replay, textOf, type Item, type TurnEvent } from '#conversation';
import { deltasAheadMax } from './turn-log.ts';
import {
  announced,
  compactedUsage,
  Database,
  deltas,
  replied,
  shapeOf,
  SimulatedNode,
  sleep,
  whole,
  type Shape,
} from './turn-log.model.ts';

/*
 * Three nodes and one database in virtual time. The real log, writer, leases and answer run on each
 * node; what is simulated is the database's rules, the network before it, the model, its tools, the
 * person who answers in its place, and death.
 */

const seeds = Number(process.env['USHER_SIMULATIONS'] ?? 2000);

/** What a listener of all nodes heard, held against the log at that very moment. */
function earOf(database: Database): { readonly hear: (event: TurnEvent) => void } {
  let ahead = 0;
  let epoch = 0;
  return {
    hear(event) {
      if (epoch !== database.epoch) ahead = 0;
      epoch = database.epoch;
      if (deltas.includes(event.type)) {
        ahead += 1;
        const durable = database.rows.filter((row) => row.epoch === epoch).flatMap(({ events }) => events);
        const known = durable.filter(({ type }) => deltas.includes(type)).length;
        expect(ahead - known).toBeLessThanOrEqual(deltasAheadMax);
      } else {
        // Structure is durable before it is told.
        expect(database.told).toContainEqual(JSON.parse(JSON.stringify(event)));
      }
    },
  };
}

const simulated = ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'] as const;

interface Simulated {
  readonly shape: Shape;
  readonly epochs: number;
  readonly database: Database;
}

/** Each begins at the same moment, so that a seed is the whole of it. */
async function simulate(seed: number, { isQuiet }: { readonly isQuiet: boolean }): Promise<Simulated> {
  vi.useFakeTimers({ toFake: [...simulated], now: 1_000_000 });
  const random = seededRandom(seed);
  const shape = shapeOf(random);
  const database = new Database();
  const ear = earOf(database);
  const nodes = Array.from({ length: 3 }, () => new SimulatedNode(database, random, shape, ear.hear));
  const working = nodes.map((node) => node.work());
  const fate = (async () => {
    const blows = isQuiet ? 0 : 4;
    for (let blow = 0; blow < blows && !database.isFinished; blow += 1) {
      await sleep(random() * 2500);
      const node = nodes[Math.floor(random() * nodes.length)]!;
      if (random() < 0.35 && nodes.filter(({ isDead }) => !isDead).length > 1) node.isDead = true;
      else {
        node.network.isCut = true;
        await sleep(random() * 9000);
        node.network.isCut = false;
      }
    }
  })();
  const done = Promise.all([...working, fate]);
  for (let step = 0; step < 4000 && !database.isFinished; step += 1) await vi.advanceTimersByTimeAsync(50);
  expect(database.isFinished).toBe(true);
  await vi.advanceTimersByTimeAsync(20_000);
  await done;
  vi.useRealTimers();
  return { shape, epochs: database.epoch, database };
}

/** What the log has to hold in the end, whatever happened on the way. */
function check({ shape, database }: Simulated): void {
  const { kept, open, pending, usage } = replay(database.told);
  expect([open, pending]).toEqual([undefined, []]);
  const items = kept.map(({ item }) => item);
  const made = (kind: Item['kind']): number => items.filter((item) => item.kind === kind).length;
  expect(items.map(wordsOf).join('')).toBe(shape.calls === 'person' ? announced + replied : whole);
  expect(made('compaction')).toBe(shape.compacts ? 1 : 0);
  expect(made('tool')).toBe(shape.calls === 'nothing' ? 0 : 1);
  expect(usage.inputTokens).toBe(shape.compacts ? compactedUsage.inputTokens : 0);
  expect(database.effects).toBeLessThanOrEqual(1);
}

function wordsOf(item: Item): string {
  return item.kind === 'message' ? textOf(item.content) : '';
}

afterEach(() => {
  vi.useRealTimers();
});

/** Simulates and checks each seed; one that fails is named. */
async function simulateAll(isQuiet: boolean, each: (one: Simulated) => void): Promise<void> {
  for (let seed = 1; seed <= seeds; seed += isQuiet ? 10 : 1) {
    try {
      const one = await simulate(seed, { isQuiet });
      check(one);
      each(one);
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
}

test(
  `whatever dies, sleeps or is cut off, a turn has one log, one writer at a time and one whole answer (${seeds} seeds)`,
  { timeout: 240_000 },
  async () => {
    let taken = 0;
    let takenWaiting = 0;
    await simulateAll(false, ({ shape, epochs }) => {
      taken += epochs - 1;
      if (shape.calls === 'person') takenWaiting += epochs - 1;
    });
    // Takeovers are what this is about: a run without them would prove nothing.
    expect(taken).toBeGreaterThan(seeds / 4);
    expect(takenWaiting).toBeGreaterThan(seeds / 20);
  },
);

test('an answer that is heard from the store becomes durable at a quicker pace than one that is not', async () => {
  const batches = { followed: [] as number[], alone: [] as number[], changing: [] as number[] };
  await simulateAll(true, ({ shape, database, epochs }) => {
    expect(epochs).toBe(1);
    // The pace, the write that was under way, and the way there.
    expect(database.lagMs).toBeLessThan(shape.pace === 'followed' ? 200 + 120 : 500 + 120);
    if (shape.calls === 'nothing') batches[shape.pace].push(database.rows.length);
  });
  const mean = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0) / counts.length;
  expect(mean(batches.alone) * 1.2).toBeLessThan(mean(batches.followed));
});
