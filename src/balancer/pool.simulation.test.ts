import { existsSync, readFileSync } from 'node:fs';
import { seededRandom, type Random } from '#base';
import { describe, expect, test } from 'vitest';
import { createPool } from './pool.ts';
import type { MemberOptions, Need, Pool, Settlement, Ticket } from './port.ts';

/**
 * A discrete-event simulation in virtual time: turns arrive, a chooser sends them to model servers
 * with a serial prefill, a batch that slows down, and a real prefix cache with eviction. Seeded, so a
 * failure is replayed by running it again.
 */

/** Events in the order of their time, and of their making where times are equal. */
class Timeline {
  nowMs = 0;
  /** Latest first, so that the next event is popped from the end. */
  readonly #events: { readonly atMs: number; readonly act: () => void }[] = [];

  at(atMs: number, act: () => void): void {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#events[middle]!.atMs > atMs) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, { atMs, act });
  }

  run(): void {
    for (let next = this.#events.pop(); next !== undefined; next = this.#events.pop()) {
      this.nowMs = next.atMs;
      next.act();
    }
  }
}

interface Turn {
  readonly atMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly prefix: readonly string[];
  readonly blockTokens: number;
}

interface ServerOptions {
  readonly name: string;
  readonly prefillTokensPerMs?: number;
  readonly cacheBlocks?: number;
  /** How requests that arrive at a time fail; undefined: they are answered. */
  readonly failing?: (nowMs: number) => boolean;
  readonly slowdown?: (nowMs: number) => number;
}

interface Progress {
  readonly firstToken: () => void;
  readonly end: () => void;
  readonly fail: () => void;
}

const overheadMs = 20;
const tokenMs = 15;
const failMs = 2;

class Server {
  readonly name: string;
  readonly arrivals: number[] = [];
  cachedTokens = 0;
  readonly #options: ServerOptions;
  readonly #timeline: Timeline;
  readonly #cache = new Set<string>();
  #active = 0;
  #prefillFreeMs = 0;

  constructor(options: ServerOptions, timeline: Timeline) {
    this.name = options.name;
    this.#options = options;
    this.#timeline = timeline;
  }

  serve(turn: Turn, on: Progress): void {
    const { nowMs } = this.#timeline;
    this.arrivals.push(nowMs);
    if (this.#options.failing?.(nowMs) === true) {
      this.#timeline.at(nowMs + failMs, on.fail);
      return;
    }
    this.#active += 1;
    const cached = Math.min(turn.promptTokens, this.#cachedBlocks(turn.prefix) * turn.blockTokens);
    this.cachedTokens += cached;
    const slowdown = this.#options.slowdown?.(nowMs) ?? 1;
    const prefillMs = (overheadMs + (turn.promptTokens - cached) / (this.#options.prefillTokensPerMs ?? 4)) * slowdown;
    this.#prefillFreeMs = Math.max(nowMs, this.#prefillFreeMs) + prefillMs;
    this.#timeline.at(this.#prefillFreeMs, () => {
      this.#store(turn.prefix);
      on.firstToken();
      const answerMs = turn.outputTokens * tokenMs * slowdown * (1 + this.#active / 8);
      this.#timeline.at(this.#timeline.nowMs + answerMs, () => {
        this.#active -= 1;
        on.end();
      });
    });
  }

  #cachedBlocks(prefix: readonly string[]): number {
    const missing = prefix.findIndex((link) => !this.#cache.has(link));
    return missing === -1 ? prefix.length : missing;
  }

  #store(prefix: readonly string[]): void {
    for (const link of prefix.toReversed()) {
      this.#cache.delete(link);
      this.#cache.add(link);
    }
    for (const oldest of this.#cache) {
      if (this.#cache.size <= (this.#options.cacheBlocks ?? 2_000)) break;
      this.#cache.delete(oldest);
    }
  }
}

/** The same calls as a pool, by chance alone: what it is compared with. */
function randomChooser(names: readonly string[], random: Random): Pool {
  return {
    pick(need, nowMs) {
      const left = names.filter((name) => !need.exclude.has(name));
      if (left.length === 0) return { result: 'none', reason: 'exhausted', retryAfterMs: 1 };
      return { result: 'picked', ticket: { backend: left[Math.floor(random() * left.length)]!, pickedAtMs: nowMs } };
    },
    mayRetry: () => true,
    head: () => undefined,
    firstToken: () => undefined,
    settle: () => undefined,
    members: () => [],
  };
}

interface Result {
  readonly servers: ReadonlyMap<string, Server>;
  readonly firstTokensMs: { readonly atMs: number; readonly waitedMs: number }[];
  readonly retriesMs: number[];
  /** Turns that came to nothing, by why. */
  readonly lost: Map<string, number>;
  readonly finalInFlight: number;
}

/** A gateway: sends each turn, retries before the first token within the budget, queues while all are busy. */
class Gateway {
  readonly result: Result;
  readonly #pool: Pool;
  readonly #timeline: Timeline;
  readonly #waiting: (() => void)[] = [];

  constructor(pool: Pool, timeline: Timeline, servers: ReadonlyMap<string, Server>) {
    this.#pool = pool;
    this.#timeline = timeline;
    this.result = { servers, firstTokensMs: [], retriesMs: [], lost: new Map(), finalInFlight: 0 };
  }

  send(turn: Turn, exclude: ReadonlySet<string> = new Set()): void {
    const { promptTokens, prefix, blockTokens } = turn;
    const need: Need = { promptTokens, prefix, blockTokens, exclude };
    const pick = this.#pool.pick(need, this.#timeline.nowMs);
    if (pick.result === 'picked') this.#attempt(turn, pick.ticket, exclude);
    else if (pick.reason === 'busy') this.#waiting.push(() => this.send(turn, exclude));
    else this.#lose(pick.reason);
  }

  #attempt(turn: Turn, ticket: Ticket, exclude: ReadonlySet<string>): void {
    this.result.servers.get(ticket.backend)!.serve(turn, {
      firstToken: () => {
        this.#pool.firstToken(ticket, this.#timeline.nowMs);
        const { nowMs } = this.#timeline;
        this.result.firstTokensMs.push({ atMs: nowMs, waitedMs: nowMs - turn.atMs });
      },
      end: () => this.#settle(ticket, { result: 'answered', outputTokens: turn.outputTokens }),
      fail: () => {
        this.#settle(ticket, { result: 'failed', kind: 'server' });
        if (!this.#pool.mayRetry(this.#timeline.nowMs)) {
          this.#lose('budget');
          return;
        }
        this.result.retriesMs.push(this.#timeline.nowMs);
        this.send(turn, new Set([...exclude, ticket.backend]));
      },
    });
  }

  #settle(ticket: Ticket, settlement: Settlement): void {
    this.#pool.settle(ticket, settlement, this.#timeline.nowMs);
    this.#waiting.shift()?.();
  }

  #lose(reason: string): void {
    this.result.lost.set(reason, (this.result.lost.get(reason) ?? 0) + 1);
  }
}

function simulate(
  turns: readonly Turn[],
  servers: readonly ServerOptions[],
  options: { readonly limits?: Partial<MemberOptions>; readonly byChance?: boolean; readonly seed?: number } = {},
): Result {
  const timeline = new Timeline();
  const random = seededRandom(options.seed ?? 11);
  const members = servers.map(({ name }) => ({ name, concurrency: 32, ...options.limits }));
  const names = servers.map(({ name }) => name);
  const pool = options.byChance === true ? randomChooser(names, random) : createPool({ members, random });
  const running = new Map(servers.map((server) => [server.name, new Server(server, timeline)]));
  const gateway = new Gateway(pool, timeline, running);
  for (const turn of turns) timeline.at(turn.atMs, () => gateway.send(turn));
  timeline.run();
  const finalInFlight = pool.members(timeline.nowMs).reduce((sum, { inFlight }) => sum + inFlight, 0);
  return { ...gateway.result, finalInFlight };
}

/**
 * Conversations with a few assistants: all of one assistant share its instructions, each turn repeats
 * the turns before it. Arrivals are Poisson; lengths are skewed as in published chat traces (context
 * median about 1,000 tokens, answers about 130).
 */
function conversations(seed: number, perSecond: number, seconds: number): Turn[] {
  const random = seededRandom(seed);
  const turns: Turn[] = [];
  const exponential = (mean: number): number => -Math.log(1 - random()) * mean;
  const turnsMean = 4;
  for (let atMs = 0, number = 0; atMs < seconds * 1_000; atMs += exponential((turnsMean * 1_000) / perSecond)) {
    number += 1;
    const assistant = Math.floor(random() ** 2 * 6);
    const prefix = Array.from({ length: 4 + assistant * 3 }, (_, index) => `a${assistant}-${index}`);
    let turnMs = atMs;
    for (let left = Math.ceil(exponential(turnsMean)); left > 0 && turnMs < seconds * 1_000; left -= 1) {
      const blocks = 1 + Math.floor(exponential(2));
      for (let block = 0; block < blocks; block += 1) prefix.push(`c${number}-${prefix.length}`);
      const promptTokens = prefix.length * 128 + Math.floor(random() * 128);
      const outputTokens = Math.ceil(exponential(130));
      turns.push({ atMs: turnMs, promptTokens, outputTokens, prefix: [...prefix], blockTokens: 128 });
      turnMs += 4_000 + exponential(15_000);
    }
  }
  return turns.sort((left, right) => left.atMs - right.atMs);
}

function named(count: number, options: Omit<ServerOptions, 'name'> = {}): ServerOptions[] {
  return Array.from({ length: count }, (_, index) => ({ ...options, name: `s${index}` }));
}

function share(result: Result, name: string, fromMs = 0): number {
  let own = 0;
  let all = 0;
  for (const server of result.servers.values()) {
    const seen = server.arrivals.filter((atMs) => atMs >= fromMs).length;
    all += seen;
    if (server.name === name) own += seen;
  }
  return own / all;
}

function cachedTokens(result: Result): number {
  return [...result.servers.values()].reduce((sum, server) => sum + server.cachedTokens, 0);
}

function meanWaitMs(result: Result): number {
  return result.firstTokensMs.reduce((sum, { waitedMs }) => sum + waitedMs, 0) / result.firstTokensMs.length;
}

function mostWithin(timesMs: readonly number[], spanMs: number): number {
  const sorted = timesMs.toSorted((left, right) => left - right);
  let most = 0;
  let oldest = 0;
  for (const [index, atMs] of sorted.entries()) {
    while (sorted[oldest]! <= atMs - spanMs) oldest += 1;
    most = Math.max(most, index - oldest + 1);
  }
  return most;
}

describe('a pool in simulated traffic', () => {
  test('answers every turn, gives back every slot, and starves no member', () => {
    const turns = conversations(1, 8, 300);
    const result = simulate(turns, named(5));
    expect(result.lost).toEqual(new Map());
    expect(result.firstTokensMs).toHaveLength(turns.length);
    expect(result.finalInFlight).toBe(0);
    for (const { name } of named(5)) expect(share(result, name)).toBeGreaterThan(0.05);
  });

  test('a backend that fails at once gets under two per cent of the traffic, and no turn is lost to it', () => {
    const turns = conversations(2, 8, 300);
    const servers = [...named(4), { name: 'broken', failing: () => true }];
    const result = simulate(turns, servers);
    expect(share(result, 'broken')).toBeLessThan(0.02);
    expect(result.lost).toEqual(new Map());
  });

  test('a backend that fails every other request gets far less than its share', () => {
    const random = seededRandom(5);
    const turns = conversations(3, 8, 300);
    const servers = [...named(4), { name: 'flaky', failing: () => random() < 0.5 }];
    const result = simulate(turns, servers);
    expect(share(result, 'flaky')).toBeLessThan(0.05);
    expect(result.firstTokensMs.length).toBeGreaterThan(turns.length * 0.99);
  });

  test('a backend that was broken is back in traffic soon after it is mended', () => {
    const turns = conversations(4, 8, 400);
    const servers = [...named(3), { name: 'mended', failing: (nowMs: number) => nowMs < 120_000 }];
    const result = simulate(turns, servers);
    expect(share(result, 'mended', 240_000)).toBeGreaterThan(0.1);
  });

  test('a backend that was slow gets its part again once it is fast', () => {
    const turns = conversations(5, 8, 600);
    const servers = [...named(3), { name: 'slow', slowdown: (nowMs: number) => (nowMs < 120_000 ? 20 : 1) }];
    const result = simulate(turns, servers);
    expect(share(result, 'slow', 0) - share(result, 'slow', 300_000)).toBeLessThan(0);
    expect(share(result, 'slow', 300_000)).toBeGreaterThan(0.1);
  });

  test('in a total outage retries stay within the budget, and traffic comes back with the backends', () => {
    const turns = conversations(6, 8, 240);
    const outage = (nowMs: number): boolean => nowMs >= 60_000 && nowMs < 120_000;
    const result = simulate(turns, named(4, { failing: outage }));
    const firsts = turns.map(({ atMs }) => atMs);
    expect(mostWithin(result.retriesMs, 10_000)).toBeLessThanOrEqual(mostWithin(firsts, 11_000) * 0.2);
    expect(result.retriesMs.length).toBeGreaterThan(0);
    const back = turns.filter(({ atMs }) => atMs >= 125_000).length;
    const answered = result.firstTokensMs.filter(({ atMs }) => atMs >= 125_000).length;
    expect(answered).toBeGreaterThan(back * 0.99);
    expect(result.finalInFlight).toBe(0);
  });

  test('no window of a minute holds more requests at a backend than its limit', () => {
    const turns = conversations(7, 10, 300);
    const result = simulate(turns, named(3), { limits: { requestsPerMinute: 120 } });
    for (const server of result.servers.values()) {
      expect(mostWithin(server.arrivals, 60_000)).toBeLessThanOrEqual(120);
      expect(server.arrivals.length).toBeGreaterThan(5 * 120 * 0.9);
    }
    expect(result.lost.get('limited')).toBeGreaterThan(0);
  });

  test.each([8, 9, 10])('finds more of each prompt cached than chance does, and waits less (seed %i)', (seed) => {
    const turns = conversations(seed, 10, 300);
    const servers = named(6, { cacheBlocks: 1_000 });
    const [pooled, byChance] = [simulate(turns, servers), simulate(turns, servers, { byChance: true })];
    expect(cachedTokens(pooled)).toBeGreaterThan(cachedTokens(byChance) * 1.15);
    expect(meanWaitMs(pooled)).toBeLessThan(meanWaitMs(byChance) * 0.8);
  });
});

const traces = '../shared/traces';

describe.skipIf(!existsSync(traces))('a pool in recorded traffic', () => {
  test('a trace with shared prefixes is cached better and waits less than by chance', () => {
    const turns = readFileSync(`${traces}/mooncake-synthetic.jsonl`, 'utf8')
      .trim()
      .split('\n')
      .map((line): Turn => {
        const record: { timestamp: number; input_length: number; output_length: number; hash_ids: number[] } =
          JSON.parse(line);
        return {
          atMs: record.timestamp,
          promptTokens: record.input_length,
          outputTokens: record.output_length,
          prefix: record.hash_ids.map(String),
          blockTokens: 512,
        };
      });
    const servers = named(8, { cacheBlocks: 2_000, prefillTokensPerMs: 20 });
    const [pooled, byChance] = [simulate(turns, servers), simulate(turns, servers, { byChance: true })];
    expect(pooled.firstTokensMs).toHaveLength(turns.length);
    expect(cachedTokens(pooled)).toBeGreaterThan(cachedTokens(byChance) * 1.15);
    expect(meanWaitMs(pooled)).toBeLessThan(meanWaitMs(byChance));
  });

  test('a trace without prefixes waits less than by chance on servers of different speeds', () => {
    const lines = readFileSync(`${traces}/azure-llm-2023-conv.csv`, 'utf8').trim().split('\n').slice(1, 6_001);
    const times = lines.map((line) => Date.parse(`${line.split(',')[0]!.slice(0, 23).replace(' ', 'T')}Z`));
    const turns = lines.map((line, index): Turn => {
      const [, context, generated] = line.split(',').map(Number);
      const atMs = times[index]! - times[0]!;
      return { atMs, promptTokens: context!, outputTokens: generated!, prefix: [], blockTokens: 128 };
    });
    const servers = [1, 2, 4, 8].map((speed) => ({ name: `x${speed}`, prefillTokensPerMs: speed * 2 }));
    const [pooled, byChance] = [simulate(turns, servers), simulate(turns, servers, { byChance: true })];
    expect(pooled.firstTokensMs).toHaveLength(turns.length);
    expect(meanWaitMs(pooled)).toBeLessThan(meanWaitMs(byChance) * 0.8);
  });
});
