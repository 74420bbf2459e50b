import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RetryBudget } from './retry-budget.ts';

describe('RetryBudget', () => {
  test('a quiet pool may always retry a few times', () => {
    const budget = new RetryBudget();
    expect([1, 2, 3, 4].map(() => budget.grant(1, 0))).toEqual([true, true, true, false]);
    expect(budget.grant(1, 11_000)).toBe(true);
  });

  test('many long answers in flight count as active though they began long ago', () => {
    const budget = new RetryBudget();
    const granted = Array.from({ length: 30 }, () => budget.grant(100, 0)).filter(Boolean);
    expect(granted).toHaveLength(20);
  });

  test('in any ten seconds grants stay within 20 % of the requests active in them, or three', () => {
    const attempts = fc.array(fc.record({ afterMs: fc.nat(300), retries: fc.nat(3) }), { maxLength: 400 });
    fc.assert(
      fc.property(attempts, (steps) => {
        const budget = new RetryBudget();
        const firsts: number[] = [];
        const grants: number[] = [];
        let nowMs = 0;
        for (const { afterMs, retries } of steps) {
          nowMs += afterMs;
          budget.firstAttempt(nowMs);
          firsts.push(nowMs);
          for (let count = 0; count < retries; count += 1) {
            if (!budget.grant(0, nowMs)) continue;
            grants.push(nowMs);
            const granted = grants.filter((atMs) => atMs > nowMs - 10_000).length;
            const active = firsts.filter((atMs) => atMs > nowMs - 11_001).length;
            expect(granted).toBeLessThanOrEqual(Math.max(3, active * 0.2));
          }
        }
      }),
    );
  });
});
