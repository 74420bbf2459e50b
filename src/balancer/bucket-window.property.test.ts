import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BucketWindow } from './bucket-window.ts';

const spanMs = 10_000;
const bucketMs = 250;

interface Added {
  readonly atMs: number;
  readonly amount: number;
}

const history = fc.array(
  fc.record({ afterMs: fc.oneof(fc.nat(400), fc.nat(15_000)), amount: fc.integer({ min: 1, max: 50 }) }),
  { minLength: 1, maxLength: 80 },
);

function replay(steps: readonly { afterMs: number; amount: number }[]): { window: BucketWindow; added: Added[] } {
  const window = new BucketWindow(spanMs, bucketMs);
  const added: Added[] = [];
  let nowMs = 0;
  for (const { afterMs, amount } of steps) {
    nowMs += afterMs;
    window.add(amount, nowMs);
    added.push({ atMs: nowMs, amount });
  }
  return { window, added };
}

function since(added: readonly Added[], fromMs: number): number {
  return added.filter(({ atMs }) => atMs > fromMs).reduce((sum, { amount }) => sum + amount, 0);
}

describe('BucketWindow', () => {
  test('the total is never less than the last span really held, nor more than one bucket beyond it', () => {
    fc.assert(
      fc.property(history, fc.nat(20_000), (steps, laterMs) => {
        const { window, added } = replay(steps);
        const nowMs = added.at(-1)!.atMs + laterMs;
        const total = window.total(nowMs);
        expect(total).toBeGreaterThanOrEqual(since(added, nowMs - spanMs));
        expect(total).toBeLessThanOrEqual(since(added, nowMs - spanMs - bucketMs - 1));
      }),
    );
  });

  test('after the wait it names, the amount has left, and just before it has not', () => {
    fc.assert(
      fc.property(history, fc.double({ min: 0.01, max: 1, noNaN: true }), (steps, share) => {
        const { window, added } = replay(steps);
        const nowMs = added.at(-1)!.atMs;
        const total = window.total(nowMs);
        const wanted = Math.ceil(total * share);
        const waitMs = window.untilFreed(wanted, nowMs);
        expect(waitMs).toBeGreaterThan(0);
        expect(window.total(nowMs + waitMs - 1)).toBeGreaterThan(total - wanted);
        expect(window.total(nowMs + waitMs)).toBeLessThanOrEqual(total - wanted);
      }),
    );
  });

  test('what is taken back never makes any bucket negative', () => {
    fc.assert(
      fc.property(history, fc.nat(79), fc.nat(200), (steps, which, amount) => {
        const { window, added } = replay(steps);
        const { atMs } = added[which % added.length]!;
        const nowMs = added.at(-1)!.atMs;
        const before = window.total(nowMs);
        window.takeBack(amount, atMs, nowMs);
        expect(window.total(nowMs)).toBeGreaterThanOrEqual(Math.max(0, before - amount));
        expect(window.total(nowMs)).toBeLessThanOrEqual(before);
        expect(window.total(nowMs + spanMs + bucketMs)).toBe(0);
      }),
    );
  });

  test('more than it holds is never freed', () => {
    const window = new BucketWindow(spanMs, bucketMs);
    window.add(3, 0);
    expect(window.untilFreed(4, 0)).toBe(Number.POSITIVE_INFINITY);
    expect(window.untilFreed(0, 0)).toBe(0);
  });

  test('time that runs backwards counts as the latest time seen', () => {
    const window = new BucketWindow(spanMs, bucketMs);
    window.add(1, 50_000);
    window.add(1, 100);
    expect(window.total(50_000)).toBe(2);
  });
});
