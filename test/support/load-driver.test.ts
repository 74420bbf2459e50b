import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { array, assert, integer, property } from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { EventScan } from './load-driver/event-scan.ts';
import { schedule } from './load-driver/schedule.ts';
import { startLoad, type LoadPlan, type LoadReport } from './load-driver.ts';
import { startModelSimulator } from './model-simulator.ts';

let server: Server | undefined;

afterEach(async () => {
  if (server === undefined) return;
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  server = undefined;
});

/** A server that answers nothing while it stalls, and all at once after. */
async function startStalling(stallAfter: number, stallMs: number): Promise<string> {
  let seen = 0;
  let until = 0;
  server = createServer((_request, response) => {
    seen += 1;
    if (seen === stallAfter) until = performance.now() + stallMs;
    setTimeout(() => response.end('ok'), Math.max(0, until - performance.now()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function load(plan: LoadPlan): Promise<LoadReport> {
  await using running = await startLoad(plan);
  return await running.report;
}

const chat = (url: string, content: string): Omit<LoadPlan, 'ratePerSecond' | 'count'> => ({
  url: `${url}/v1/chat/completions`,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'simulated', stream: true, messages: [{ role: 'user', content }] }),
});

describe('histogram', () => {
  test('a stall of the server is charged to every request that was due in it, even with one connection', async () => {
    const url = await startStalling(50, 500);
    const report = await load({ url, method: 'GET', ratePerSecond: 200, count: 200, connectionsMax: 1 });
    expect(report).toMatchObject({ sent: 200, done: 200, failed: 0 });
    // 100 of 200 requests were due in the stall; they waited 250 ms in the mean and some of them
    // nearly all of it. A closed loop would have seen one slow request of 200.
    expect(report.whole.max).toBeGreaterThanOrEqual(495);
    expect(report.whole.p90).toBeGreaterThanOrEqual(300);
    expect(report.whole.mean).toBeGreaterThanOrEqual(100);
  });

  test('a quiet server has no such tail beside the control', async () => {
    const url = await startStalling(Infinity, 0);
    const report = await load({ url, method: 'GET', ratePerSecond: 200, count: 100, connectionsMax: 1 });
    expect(report.done).toBe(100);
    expect(report.whole.p50).toBeLessThan(250);
    expect(report.seconds).toBeGreaterThanOrEqual(0.49);
  });
});

describe('schedule', () => {
  const plan = { url: 'http://127.0.0.1', ratePerSecond: 100, count: 5000 };

  test('constant arrivals are evenly spaced', () => {
    const times = schedule(plan);
    expect([times[0], times[1], times[4999]]).toEqual([0, 10, 49_990]);
  });

  test('Poisson arrivals have the asked mean and deviation of gaps, and repeat by seed', () => {
    const times = schedule({ ...plan, arrival: 'poisson', seed: 7 });
    const gaps = Array.from(times.slice(1), (time, index) => time - (times[index] ?? 0));
    const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
    const deviation = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length);
    expect(mean).toBeGreaterThan(9.5);
    expect(mean).toBeLessThan(10.5);
    expect(deviation / mean).toBeGreaterThan(0.9);
    expect(deviation / mean).toBeLessThan(1.1);
    expect(schedule({ ...plan, arrival: 'poisson', seed: 7 })).toEqual(times);
  });

  test('a count without bound is refused', () => {
    expect(() => schedule({ ...plan, count: 1e9 })).toThrow('count');
  });
});

test('events and first words are found wherever the bytes are split', () => {
  const text = 'data: {"delta":{"content":""}}\n\ndata: {"delta":{"content":"row"}}\r\n\r\n: note\n\ndata: [DONE]\n\n';
  assert(
    property(array(integer({ min: 1, max: 40 }), { maxLength: 40 }), (sizes) => {
      const scan = new EventScan();
      const bytes = Buffer.from(text);
      let start = 0;
      for (const size of [...sizes, bytes.length]) {
        scan.push(bytes.subarray(start, start + size));
        start += size;
      }
      expect([scan.events, scan.hasWords]).toEqual([4, true]);
    }),
    { numRuns: 2000 },
  );
});

describe('against the simulator', () => {
  test('streams are counted event by event, with the time of their first words', async () => {
    await using simulator = await startModelSimulator({ prefillTokensPerSecond: 1000, cacheBlocks: 0 });
    const report = await load({ ...chat(simulator.url, '[[sim:tokens 10]]'), ratePerSecond: 50, count: 10 });
    expect(report).toMatchObject({ done: 10, failed: 0, events: 10 * 13 });
    const prompt = (await simulator.log()).requests[0]?.promptTokens ?? 0;
    expect(report.firstToken.count).toBe(10);
    expect(report.firstToken.p50).toBeGreaterThanOrEqual(prompt * 0.9);
    expect(report.firstByte.p50).toBeLessThanOrEqual(report.firstToken.p50);
  });

  test('failures are counted by kind', async () => {
    await using simulator = await startModelSimulator();
    for (const command of ['500', '429', 'reset', 'cut after=2']) await simulator.plan(`[[sim:${command}]]`);
    const report = await load({ ...chat(simulator.url, 'hello'), ratePerSecond: 20, count: 5, connectionsMax: 1 });
    expect(report).toMatchObject({ done: 1, failed: 4, errors: { http_500: 1, http_429: 1, cut: 1 } });
  });

  test('a request that is never answered ends at its time-out', async () => {
    await using simulator = await startModelSimulator();
    const report = await load({ ...chat(simulator.url, '[[sim:hang]]'), ratePerSecond: 50, count: 2, timeoutMs: 300 });
    expect(report.errors).toEqual({ timeout: 2 });
    expect(report.whole.p50).toBeGreaterThanOrEqual(295);
  });

  test('open streams are held until the load is finished', async () => {
    await using simulator = await startModelSimulator();
    const plan = { ...chat(simulator.url, '[[sim:stall after=1]]'), ratePerSecond: 500, count: 100 };
    await using running = await startLoad(plan);
    await simulator.until(({ totals }) => totals.active === 100);
    const report = await running.finish();
    expect(report.errors).toEqual({ stopped: 100 });
    await simulator.until(({ totals }) => totals.active === 0);
  });

  test('a slow reader takes its bytes no faster than asked', async () => {
    await using simulator = await startModelSimulator();
    const plan = { ...chat(simulator.url, '[[sim:tokens 2000]]'), readBytesPerSecond: 1_000_000 };
    const report = await load({ ...plan, ratePerSecond: 1, count: 1 });
    expect(report.done).toBe(1);
    expect(report.whole.p50).toBeGreaterThanOrEqual(((report.bytes - 65_536) / 1_000_000) * 1000);
  });
});
