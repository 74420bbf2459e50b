import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createAdmission, createTurnLimiter } from './admission.ts';

describe('createAdmission', () => {
  test('no window of 60 s admits more than the limit, whatever is refused or released', () => {
    const steps = fc.array(fc.record({ afterMs: fc.nat(5_000), release: fc.boolean() }), { maxLength: 150 });
    fc.assert(
      fc.property(
        steps,
        fc.integer({ min: 1, max: 10 }),
        fc.integer({ min: 1, max: 5 }),
        (steps, rate, concurrency) => {
          const admission = createAdmission({ requestsPerMinute: rate, concurrency });
          const admitted: number[] = [];
          const held: ((nowMs: number) => void)[] = [];
          let nowMs = 0;
          for (const { afterMs, release } of steps) {
            nowMs += afterMs;
            if (release) held.shift()?.(nowMs);
            const answer = admission.admit(nowMs);
            if (answer.result === 'admitted') {
              admitted.push(nowMs);
              held.push(answer.release);
            } else {
              expect(answer.retryAfterMs).toBeGreaterThan(0);
            }
            expect(admission.active).toBe(held.length);
            expect(held.length).toBeLessThanOrEqual(concurrency);
            expect(admitted.filter((atMs) => atMs > nowMs - 60_000).length).toBeLessThanOrEqual(rate);
          }
        },
      ),
    );
  });

  test('a refusal names the moment from which it is admitted', () => {
    const admission = createAdmission({ requestsPerMinute: 2, concurrency: 10 });
    admission.admit(0);
    admission.admit(10_000);
    expect(admission.admit(20_000)).toEqual({ result: 'refused', reason: 'rate', retryAfterMs: 40_000 });
    expect(admission.admit(59_999).result).toBe('refused');
    expect(admission.admit(60_000).result).toBe('admitted');
  });

  test('a client that hammers is admitted as soon as one that waits', () => {
    const admission = createAdmission({ requestsPerMinute: 1, concurrency: 10 });
    admission.admit(0);
    for (let nowMs = 1; nowMs < 60_000; nowMs += 10) expect(admission.admit(nowMs).result).toBe('refused');
    expect(admission.admit(60_000).result).toBe('admitted');
  });

  test('who leaves a share to others is refused while no more than that is free', () => {
    const admission = createAdmission({ requestsPerMinute: 4, concurrency: 100 });
    for (let nowMs = 0; nowMs < 3; nowMs += 1) expect(admission.admit(nowMs, 0.25).result).toBe('admitted');
    expect(admission.admit(10, 0.25)).toEqual({ result: 'refused', reason: 'rate', retryAfterMs: 59_990 });
    expect(admission.admit(10).result).toBe('admitted');
    const narrow = createAdmission({ requestsPerMinute: 100, concurrency: 2 });
    expect(narrow.admit(0, 0.5).result).toBe('admitted');
    expect(narrow.admit(0, 0.5)).toMatchObject({ result: 'refused', reason: 'concurrency' });
    expect(narrow.admit(0).result).toBe('admitted');
  });

  test('a turn that is charged takes its place when it enters, and counts then even beyond the limit', () => {
    const admission = createAdmission({ requestsPerMinute: 3, concurrency: 2 });
    for (let nowMs = 0; nowMs < 3; nowMs += 1) expect(admission.charge(nowMs).result).toBe('admitted');
    expect(admission.charge(10)).toEqual({ result: 'refused', reason: 'rate', retryAfterMs: 59_990 });
    expect(admission.active).toBe(0);
    const leave = admission.enter(20);
    expect([admission.isFull(), admission.isFull(0.5)]).toEqual([false, true]);
    admission.enter(20);
    admission.enter(20);
    expect(admission.active).toBe(3);
    leave(30);
    expect(admission.isFull()).toBe(true);
  });

  test('releasing twice gives back one slot', () => {
    const admission = createAdmission({ requestsPerMinute: 100, concurrency: 2 });
    const first = admission.admit(0);
    admission.admit(0);
    if (first.result !== 'admitted') throw new Error('the first must be admitted');
    first.release(10);
    first.release(20);
    expect(admission.active).toBe(1);
    expect(admission.admit(30).result).toBe('admitted');
    expect(admission.admit(40)).toMatchObject({ result: 'refused', reason: 'concurrency' });
  });

  test('the wait for a slot is learnt from how long turns last', () => {
    const admission = createAdmission({ requestsPerMinute: 1_000, concurrency: 1 });
    for (let nowMs = 0; nowMs < 800_000; nowMs += 8_000) {
      const answer = admission.admit(nowMs);
      if (answer.result === 'admitted') answer.release(nowMs + 4_000);
    }
    admission.admit(900_000);
    const refused = admission.admit(900_001);
    if (refused.result !== 'refused') throw new Error('the second must be refused');
    expect(refused.retryAfterMs).toBeGreaterThan(3_900);
    expect(refused.retryAfterMs).toBeLessThan(4_100);
  });
});

describe('createTurnLimiter', () => {
  test("one user's turns do not count for another", () => {
    const limiter = createTurnLimiter({ turnsPerMinute: 1, usersMax: 10 });
    expect(limiter.admit('one', 0).result).toBe('admitted');
    expect(limiter.admit('two', 0).result).toBe('admitted');
    expect(limiter.admit('one', 15_000)).toEqual({ result: 'refused', retryAfterMs: 45_000 });
    expect(limiter.admit('one', 60_000).result).toBe('admitted');
  });

  test('more users than fit forget the one longest silent, never the busiest', () => {
    const limiter = createTurnLimiter({ turnsPerMinute: 1, usersMax: 2 });
    limiter.admit('silent', 0);
    limiter.admit('busy', 1);
    limiter.admit('new', 2);
    expect(limiter.admit('busy', 3).result).toBe('refused');
    expect(limiter.admit('silent', 4).result).toBe('admitted');
  });
});
