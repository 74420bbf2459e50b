import { describe, expect, test } from 'vitest';
import { seededRandom, systemClock } from '#base';
import { createPool, type Need, type Ticket } from '#balancer';
import { BackendPool } from './backend-pool.ts';

const need: Need = { promptTokens: 1, prefix: [], blockTokens: 128, exclude: new Set() };
const never = new AbortController().signal;

function poolOf(concurrency: number): BackendPool {
  return new BackendPool({
    name: 'default',
    pool: createPool({ members: [{ name: 'only', concurrency }], random: seededRandom(1) }),
    backends: new Map(),
    timeouts: { connectMs: 1, firstTokenMs: 1, betweenTokensMs: 1, wholeMs: 1 },
    attemptsMax: 1,
    fallback: undefined,
    clock: systemClock,
  });
}

async function picked(pool: BackendPool, signal = never): Promise<Ticket> {
  const pick = await pool.pick(need, signal);
  if (pick.result !== 'picked') throw new Error(`nothing was picked: ${pick.reason}`);
  return pick.ticket;
}

describe('a pool whose every place is taken', () => {
  test('lets turns wait, and serves them in the order in which they came', async () => {
    const pool = poolOf(1);
    const order: number[] = [];
    const first = await picked(pool);
    const waiting = [1, 2, 3].map(async (turn) => {
      const ticket = await picked(pool);
      order.push(turn);
      pool.settle(ticket, { result: 'answered', outputTokens: 1 });
    });
    expect(order).toEqual([]);
    pool.settle(first, { result: 'answered', outputTokens: 1 });
    await Promise.all(waiting);
    expect(order).toEqual([1, 2, 3]);
  });

  test('gives up its wait when the client leaves, and no place is lost', async () => {
    const pool = poolOf(1);
    const first = await picked(pool);
    const client = new AbortController();
    const waiting = pool.pick(need, client.signal);
    client.abort();
    expect(await waiting).toMatchObject({ result: 'none', reason: 'busy' });
    pool.settle(first, { result: 'answered', outputTokens: 1 });
    await picked(pool);
    expect(pool.members()[0]?.inFlight).toBe(1);
  });

  test('turns away who comes when 200 already wait', async () => {
    const pool = poolOf(1);
    const first = await picked(pool);
    const client = new AbortController();
    const waiting = Array.from({ length: 200 }, () => pool.pick(need, client.signal));
    expect(await pool.pick(need, never)).toMatchObject({ result: 'none', reason: 'busy' });
    client.abort();
    await Promise.all(waiting);
    pool.settle(first, { result: 'neutral' });
  });
});
