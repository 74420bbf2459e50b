import { array, assert, integer, property, record } from 'fast-check';
import { expect, test } from 'vitest';
import { formatDuration, RateLimit } from './rate-limit.ts';

test('a minute never admits more than its allowance and what was refilled meanwhile', () => {
  const step = record({ gapMs: integer({ min: 0, max: 20_000 }), tokens: integer({ min: 1, max: 120 }) });
  assert(
    property(array(step, { maxLength: 80 }), (steps) => {
      const limit = new RateLimit(10, 200);
      let nowMs = 0;
      let requests = 0;
      let tokens = 0;
      for (const step of steps) {
        nowMs += step.gapMs;
        if (limit.admit('key', step.tokens, nowMs).refusedBy !== undefined) continue;
        requests += 1;
        tokens += step.tokens;
        expect(requests).toBeLessThanOrEqual(10 + (nowMs * 10) / 60_000);
        expect(tokens).toBeLessThanOrEqual(200 + (nowMs * 200) / 60_000);
      }
    }),
  );
});

test('who waits as long as was said is admitted', () => {
  assert(
    property(integer({ min: 1, max: 60 }), integer({ min: 1, max: 500 }), (calls, tokens) => {
      const limit = new RateLimit(5, 500);
      for (let call = 0; call < calls; call += 1) limit.admit('key', tokens, 0);
      const { refusedBy, waitMs } = limit.admit('key', tokens, 0);
      if (refusedBy === undefined) return;
      expect(limit.admit('key', tokens, Math.ceil(waitMs) + 1).refusedBy).toBe(undefined);
    }),
  );
});

test.each([
  [0, '0ms'],
  [20, '20ms'],
  [1500, '1.5s'],
  [360_000, '6m0s'],
])('%d ms is written %s', (durationMs, text) => {
  expect(formatDuration(durationMs)).toBe(text);
});
