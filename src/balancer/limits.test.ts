import { describe, expect, test } from 'vitest';
import { Limits } from './limits.ts';

describe('Limits, configured', () => {
  test('a request waits until the oldest of the last minute is a minute old', () => {
    const limits = new Limits(2, undefined);
    limits.charge(10, 0);
    limits.charge(10, 20_000);
    expect(limits.waitMs(10, 30_000)).toBe(30_000);
    expect(limits.waitMs(10, 60_000)).toBe(0);
  });

  test('tokens are charged before the answer is known, by the mean answer', () => {
    const limits = new Limits(undefined, 1_000);
    limits.charge(600, 0);
    expect(limits.waitMs(100, 0)).toBeGreaterThanOrEqual(60_000);
    expect(limits.waitMs(100, 0)).toBeLessThanOrEqual(60_250);
  });

  test('what an answer did not need is given back, what it needed more is charged', () => {
    const short = new Limits(undefined, 1_000);
    short.answered(short.charge(100, 0), 0, 10);
    expect(short.waitMs(600, 20)).toBe(0);

    const long = new Limits(undefined, 1_000);
    long.answered(long.charge(100, 0), 800, 10);
    expect(long.waitMs(100, 20)).toBeGreaterThan(0);
  });

  test('a request larger than the whole limit waits for an empty window, not for ever', () => {
    const limits = new Limits(undefined, 1_000);
    limits.charge(10, 0);
    expect(limits.waitMs(50_000, 0)).toBeLessThanOrEqual(60_250);
    expect(limits.waitMs(50_000, 60_250)).toBe(0);
  });

  test('a request that never reached the backend spends no tokens', () => {
    const limits = new Limits(undefined, 1_000);
    limits.unserved(limits.charge(700, 0), 5);
    expect(limits.waitMs(700, 10)).toBe(0);
  });
});

describe('Limits, reported', () => {
  test('an empty remainder blocks until its reset', () => {
    const limits = new Limits(undefined, undefined);
    limits.report(limits.charge(10, 0), { requestsRemaining: 0, requestsResetMs: 2_500 }, 100);
    expect(limits.waitMs(10, 100)).toBe(2_500);
    expect(limits.waitMs(10, 2_600)).toBe(0);
  });

  test('requests sent after the one that was counted are taken off its remainder', () => {
    const limits = new Limits(undefined, undefined);
    const first = limits.charge(10, 0);
    limits.charge(10, 1);
    limits.charge(10, 2);
    limits.report(first, { requestsRemaining: 3, requestsResetMs: 60_000 }, 50);
    expect(limits.waitMs(10, 50)).toBe(0);
    limits.charge(10, 51);
    expect(limits.waitMs(10, 52)).toBeGreaterThan(0);
  });

  test('a report older than the last one changes nothing', () => {
    const limits = new Limits(undefined, undefined);
    const first = limits.charge(10, 0);
    const second = limits.charge(10, 1);
    limits.report(second, { requestsRemaining: 0, requestsResetMs: 5_000 }, 10);
    limits.report(first, { requestsRemaining: 100, requestsResetMs: 5_000 }, 20);
    expect(limits.waitMs(10, 20)).toBe(4_990);
  });

  test('too few tokens for this prompt block it and let a smaller one through', () => {
    const limits = new Limits(undefined, undefined);
    limits.report(limits.charge(10, 0), { tokensRemaining: 1_000, tokensResetMs: 4_000 }, 0);
    expect(limits.waitMs(5_000, 0)).toBe(4_000);
    expect(limits.waitMs(100, 0)).toBe(0);
  });

  test('a reset a day away is asked again after a minute', () => {
    const limits = new Limits(undefined, undefined);
    limits.report(limits.charge(10, 0), { requestsRemaining: 0, requestsResetMs: 86_400_000 }, 0);
    expect(limits.waitMs(10, 0)).toBe(60_000);
  });
});

describe('Limits, refused', () => {
  test('Retry-After is honoured, and a shorter one does not shorten it', () => {
    const limits = new Limits(undefined, undefined);
    const [first, second] = [limits.charge(10, 0), limits.charge(10, 0)];
    limits.refused(first, 20_000, 100);
    limits.refused(second, 1_000, 200);
    expect(limits.waitMs(10, 200)).toBe(19_900);
  });

  test('without Retry-After it doubles by each refusal in turn, to thirty seconds', () => {
    const limits = new Limits(undefined, undefined);
    const waits: number[] = [];
    let nowMs = 0;
    for (let count = 0; count < 7; count += 1) {
      limits.refused(limits.charge(10, nowMs), undefined, nowMs);
      waits.push(limits.waitMs(10, nowMs));
      nowMs += waits.at(-1)!;
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    limits.answered(limits.charge(10, nowMs), 10, nowMs);
    limits.refused(limits.charge(10, nowMs), undefined, nowMs);
    expect(limits.waitMs(10, nowMs)).toBe(1_000);
  });

  test.each([0, -1, Number.NaN])('a Retry-After of %d is as good as none', (retryAfterMs) => {
    const limits = new Limits(undefined, undefined);
    limits.refused(limits.charge(10, 0), retryAfterMs, 0);
    expect(limits.waitMs(10, 0)).toBe(1_000);
  });

  test('a burst refused together counts once', () => {
    const limits = new Limits(undefined, undefined);
    const burst = Array.from({ length: 10 }, () => limits.charge(10, 0));
    for (const charge of burst) limits.refused(charge, undefined, 50);
    expect(limits.waitMs(10, 50)).toBe(1_000);
  });
});
