import { seededRandom } from '#base';
import { describe, expect, test } from 'vitest';
import { createPool, createPools } from './pool.ts';
import type { MemberOptions, Need, Pool, Settlement, Ticket } from './port.ts';
import { prefixChain } from './prefix.ts';

const answered: Settlement = { result: 'answered', outputTokens: 100 };
const neutral: Settlement = { result: 'neutral' };
const server: Settlement = { result: 'failed', kind: 'server' };
const misconfigured: Settlement = { result: 'failed', kind: 'misconfigured' };

function poolOf(count: number, options: Partial<MemberOptions> = {}, seed = 1): Pool {
  const members = Array.from({ length: count }, (_, index) => ({ name: `m${index}`, concurrency: 100, ...options }));
  return createPool({ members, random: seededRandom(seed) });
}

function needOf(options: Partial<Need> = {}): Need {
  return { promptTokens: 1_000, prefix: [], blockTokens: 128, exclude: new Set(), ...options };
}

function others(count: number, name: string): ReadonlySet<string> {
  return new Set(Array.from({ length: count }, (_, index) => `m${index}`).filter((other) => other !== name));
}

function pick(pool: Pool, nowMs: number, need: Partial<Need> = {}): Ticket {
  const picked = pool.pick(needOf(need), nowMs);
  if (picked.result === 'none') throw new Error(`none: ${picked.reason}`);
  return picked.ticket;
}

/** Breaks one member of a pool by requests that only it may take. */
function breakMember(pool: Pool, count: number, name: string, nowMs: number, by: Settlement = server): void {
  for (let failures = 0; failures < 5; failures += 1) {
    const attempt = pool.pick(needOf({ exclude: others(count, name) }), nowMs);
    if (attempt.result === 'none') return;
    expect(attempt.ticket.backend).toBe(name);
    pool.settle(attempt.ticket, by, nowMs);
  }
}

describe('picking', () => {
  test('load is charged at selection: a burst within one tick spreads evenly', () => {
    const pool = poolOf(5);
    for (let count = 0; count < 20; count += 1) pick(pool, 0);
    expect(pool.members(0).map(({ inFlight }) => inFlight)).toEqual([4, 4, 4, 4, 4]);
  });

  test('ties fall uniformly at random', () => {
    const pool = poolOf(4, {}, 7);
    const counts = new Map<string, number>();
    for (let count = 0; count < 8_000; count += 1) {
      const ticket = pick(pool, count);
      counts.set(ticket.backend, (counts.get(ticket.backend) ?? 0) + 1);
      pool.settle(ticket, neutral, count);
    }
    const chiSquare = [...counts.values()].reduce((sum, seen) => sum + (seen - 2_000) ** 2 / 2_000, 0);
    expect(counts.size).toBe(4);
    // Three degrees of freedom: 16.27 is passed once in a thousand.
    expect(chiSquare).toBeLessThan(16.27);
  });

  test('a conversation returns to the backend that has its prompt cached', () => {
    const pool = poolOf(8);
    const told = ['Instructions. '.repeat(300)];
    const first = pick(pool, 0, prefixChain(told));
    pool.firstToken(first, 200);
    pool.settle(first, answered, 1_000);
    for (let turn = 1; turn <= 10; turn += 1) {
      told.push(`Turn ${turn}. `.repeat(60));
      const ticket = pick(pool, turn * 2_000, prefixChain(told));
      expect(ticket.backend).toBe(first.backend);
      pool.firstToken(ticket, turn * 2_000 + 100);
      pool.settle(ticket, answered, turn * 2_000 + 900);
    }
  });

  test('a crowded backend loses even what it has cached', () => {
    const pool = poolOf(2);
    const chain = prefixChain(['Instructions. '.repeat(300)]);
    const first = pick(pool, 0, chain);
    pool.firstToken(first, 200);
    pool.settle(first, answered, 300);
    const taken = Array.from({ length: 60 }, () => pick(pool, 400, chain).backend);
    expect(taken[0]).toBe(first.backend);
    expect(taken).toContain(first.backend === 'm0' ? 'm1' : 'm0');
  });

  test.each([
    ['cannot be reached', 1, { result: 'failed', kind: 'connect' }],
    ['breaks', 5, server],
  ] as const)('a backend that %s has nothing cached any more', (_, failures, by) => {
    const pool = poolOf(2);
    const chain = { ...prefixChain(['Instructions. '.repeat(300)]), promptTokens: 1_050, exclude: new Set(['m1']) };
    const warm = pick(pool, 0, chain);
    pool.firstToken(warm, 200);
    pool.settle(warm, answered, 300);
    for (let count = 0; count < failures; count += 1) pool.settle(pick(pool, 300, chain), by, 300);
    // Long after the penalty has faded, and closed again, both are equally cold.
    const later = 5 * 60_000;
    pool.settle(pick(pool, later, { exclude: new Set(['m1']) }), answered, later);
    const seen = new Set<string>();
    for (let count = 0; count < 64; count += 1) {
      const ticket = pick(pool, later, { ...chain, exclude: new Set() });
      seen.add(ticket.backend);
      pool.settle(ticket, neutral, later);
    }
    expect(seen).toEqual(new Set(['m0', 'm1']));
  });
});

describe('picking nothing', () => {
  test('a turn that has tried every member is told so, and to wait', () => {
    const pool = poolOf(2);
    const none = pool.pick(needOf({ exclude: new Set(['m0', 'm1']) }), 0);
    expect(none).toEqual({ result: 'none', reason: 'exhausted', retryAfterMs: 1_000 });
  });

  test('full members are busy, for about as long as their requests last', () => {
    const pool = poolOf(1, { concurrency: 1 });
    for (let count = 0; count < 60; count += 1) {
      const ticket = pick(pool, count * 10_000);
      pool.settle(ticket, answered, count * 10_000 + 6_000);
    }
    pick(pool, 600_000);
    const none = pool.pick(needOf(), 600_000);
    if (none.result !== 'none') throw new Error('the pool is full');
    expect(none.reason).toBe('busy');
    expect(none.retryAfterMs).toBeGreaterThan(5_900);
    expect(none.retryAfterMs).toBeLessThan(6_100);
  });

  test('limited members name the moment at which the first of them may be called', () => {
    const pool = poolOf(2, { requestsPerMinute: 1 });
    pick(pool, 0);
    pick(pool, 20_000);
    expect(pool.pick(needOf(), 30_000)).toEqual({ result: 'none', reason: 'limited', retryAfterMs: 30_000 });
    expect(pool.pick(needOf(), 60_000).result).toBe('picked');
  });

  test('where one is limited and one merely full, the pool is busy: a free place would do', () => {
    const members = [
      { name: 'limited', concurrency: 9, requestsPerMinute: 1 },
      { name: 'full', concurrency: 1 },
    ];
    const pool = createPool({ members, random: seededRandom(1) });
    pick(pool, 0);
    pick(pool, 0);
    expect(pool.pick(needOf(), 0)).toMatchObject({ result: 'none', reason: 'busy' });
  });

  test('a pool of one fails at once while its breaker is open', () => {
    const pool = poolOf(1);
    breakMember(pool, 1, 'm0', 0);
    expect(pool.pick(needOf(), 400)).toEqual({ result: 'none', reason: 'broken', retryAfterMs: 600 });
  });
});

describe('failure', () => {
  test('an open member is left alone while half of the pool is healthy', () => {
    const pool = poolOf(2);
    breakMember(pool, 2, 'm0', 0);
    for (let count = 0; count < 50; count += 1) expect(pick(pool, 900).backend).toBe('m1');
  });

  test('the next first attempt after the open period is the probe, and only that one', () => {
    const pool = poolOf(3);
    breakMember(pool, 3, 'm0', 0);
    expect(pick(pool, 1_000, { exclude: new Set(['m1']) }).backend).toBe('m2');
    const probe = pick(pool, 1_000);
    expect(probe.backend).toBe('m0');
    expect(pool.members(1_000)[0]!.breaker).toBe('probing');
    for (let count = 0; count < 20; count += 1) expect(pick(pool, 1_000).backend).not.toBe('m0');
    pool.settle(probe, answered, 1_100);
    expect(pool.members(1_100)[0]!.breaker).toBe('closed');
  });

  test('a retry probes where nothing else is left', () => {
    const pool = poolOf(2);
    breakMember(pool, 2, 'm0', 0);
    expect(pick(pool, 1_000, { exclude: new Set(['m1']) }).backend).toBe('m0');
  });

  test('below half healthy the breaker is ignored, and the healthy still come first', () => {
    const pool = poolOf(3, { concurrency: 2 });
    breakMember(pool, 3, 'm0', 0);
    breakMember(pool, 3, 'm1', 0);
    const taken = Array.from({ length: 6 }, () => pick(pool, 500).backend);
    expect(taken.slice(0, 2)).toEqual(['m2', 'm2']);
    expect(taken.slice(2).sort()).toEqual(['m0', 'm0', 'm1', 'm1']);
  });

  test('a misconfigured member is left out at once, and stays out in panic', () => {
    const pool = poolOf(3);
    pool.settle(pick(pool, 0, { exclude: others(3, 'm0') }), misconfigured, 0);
    breakMember(pool, 3, 'm1', 0);
    const seen = new Set(Array.from({ length: 50 }, () => pick(pool, 500).backend));
    expect(seen.has('m0')).toBe(false);
    expect(pool.members(0)[0]!.openUntilMs).toBe(30_000);
  });

  test('a refusal by limit holds the member back without breaking it', () => {
    const pool = poolOf(2);
    for (let count = 0; count < 20; count += 1) {
      const ticket = pool.pick(needOf({ exclude: new Set(['m1']) }), count * 10_000);
      if (ticket.result === 'picked') {
        pool.settle(ticket.ticket, { result: 'limited', retryAfterMs: 8_000 }, count * 10_000);
      }
      expect(pick(pool, count * 10_000 + 7_999).backend).toBe('m1');
    }
    expect(pool.members(0)[0]!.breaker).toBe('closed');
  });

  test('a report of an empty remainder turns traffic away before a refusal', () => {
    const pool = poolOf(2);
    const ticket = pick(pool, 0, { exclude: new Set(['m1']) });
    pool.head(ticket, { requestsRemaining: 0, requestsResetMs: 10_000 }, 10);
    pool.settle(ticket, answered, 20);
    for (let count = 0; count < 20; count += 1) expect(pick(pool, 5_000).backend).toBe('m1');
  });

  test('a member that failed once is warmed up: it loses to its healthy peers until it has answered', () => {
    const pool = poolOf(2);
    pool.settle(pick(pool, 0, { exclude: new Set(['m1']) }), server, 1);
    for (let count = 0; count < 30; count += 1) {
      const ticket = pick(pool, 100 + count);
      expect(ticket.backend).toBe('m1');
      pool.settle(ticket, answered, 100 + count);
    }
  });
});

describe('tokens', () => {
  test.each([
    ['one that was not reached', { result: 'failed', kind: 'connect' }],
    ['one refused by limit', { result: 'limited', retryAfterMs: 1 }],
  ] as const)('%s has spent none of the token limit', (_, unserved) => {
    const pool = poolOf(1, { tokensPerMinute: 2_000 });
    pool.settle(pick(pool, 0), unserved, 0);
    expect(pool.pick(needOf(), 10).result).toBe('picked');
  });

  test('one that was served has, whatever came of it', () => {
    const pool = poolOf(1, { tokensPerMinute: 2_000 });
    pool.settle(pick(pool, 0), { result: 'failed', kind: 'cut' }, 0);
    expect(pool.pick(needOf(), 10)).toMatchObject({ result: 'none', reason: 'limited' });
  });
});

describe('tickets', () => {
  test('settling twice changes nothing the second time', () => {
    const pool = poolOf(1);
    const [first, second] = [pick(pool, 0), pick(pool, 0)];
    pool.settle(first, answered, 1);
    for (const again of [answered, server, misconfigured, neutral]) pool.settle(first, again, 2);
    expect(pool.members(2)[0]).toMatchObject({ inFlight: 1, breaker: 'closed' });
    pool.settle(second, answered, 3);
    expect(pool.members(3)[0]!.inFlight).toBe(0);
  });

  test('first token and limits that arrive after the end change nothing', () => {
    const pool = poolOf(1);
    const ticket = pick(pool, 0);
    pool.settle(ticket, neutral, 1);
    const before = pool.members(1);
    pool.firstToken(ticket, 1);
    pool.head(ticket, { requestsRemaining: 0, requestsResetMs: 9_000 }, 1);
    expect(pool.members(1)).toEqual(before);
  });

  test('a ticket of another pool is refused: its slot would leak', () => {
    const ticket = pick(poolOf(1), 0);
    expect(() => poolOf(1).settle(ticket, neutral, 0)).toThrow('did not hand it out');
    expect(() => poolOf(1).settle({ backend: 'm0', pickedAtMs: 0 }, neutral, 0)).toThrow(TypeError);
  });
});

describe('pools over the same members', () => {
  const members = [
    { name: 'shared', concurrency: 4, requestsPerMinute: 3 },
    { name: 'own', concurrency: 1 },
  ];
  const pools = (): { both: Pool; alone: Pool } => {
    const named = new Map([
      ['both', ['shared', 'own']],
      ['alone', ['shared']],
    ]);
    const created = createPools({ members, pools: named, random: seededRandom(3) });
    return { both: created.get('both')!, alone: created.get('alone')! };
  };

  test("a backend's limit is one, however many pools it is in", () => {
    const { both, alone } = pools();
    for (let count = 0; count < 2; count += 1) pick(alone, 0);
    pick(both, 0, { exclude: new Set(['own']) });
    expect(alone.pick(needOf(), 0)).toMatchObject({ result: 'none', reason: 'limited' });
    expect(pick(both, 0).backend).toBe('own');
  });

  test('what one pool learns of a broken backend the other knows', () => {
    const { both, alone } = pools();
    alone.settle(pick(alone, 0), misconfigured, 0);
    expect(both.members(0)[0]).toMatchObject({ name: 'shared', breaker: 'open' });
  });

  test('a name that is no member is refused', () => {
    expect(() => createPools({ members, pools: new Map([['p', ['other']]]), random: seededRandom(1) })).toThrow(
      'other',
    );
  });
});

describe('a pool', () => {
  test('needs a member, and different names', () => {
    expect(() => poolOf(0)).toThrow(RangeError);
    expect(() => poolOf(2, { name: 'same' })).toThrow(RangeError);
  });

  test('tells what a small request would wait', () => {
    const pool = poolOf(1);
    for (let count = 0; count < 50; count += 1) {
      const ticket = pick(pool, count * 1_000);
      pool.firstToken(ticket, count * 1_000 + 500);
      pool.settle(ticket, answered, count * 1_000 + 900);
    }
    const [idle] = pool.members(50_000);
    expect(idle!.expectedWaitMs).toBeGreaterThan(10);
    expect(idle!.expectedWaitMs).toBeLessThan(25);
    pick(pool, 50_000);
    expect(pool.members(50_000)[0]!.expectedWaitMs).toBeGreaterThan(1_000);
  });
});
