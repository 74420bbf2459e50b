import { describe, expect, test } from 'vitest';
import { Pace, Penalty, PoolPace, uncachedTokens, waitUnits } from './score.ts';

describe('score', () => {
  test('queue and batch multiply, and a fully cached prompt still costs a pass', () => {
    expect(waitUnits(300, 100, 2)).toBe(1_200);
    expect(uncachedTokens(1_000, 400)).toBe(600);
    expect(uncachedTokens(1_000, 1_000)).toBe(32);
  });

  test('the pace converges to milliseconds per unit as measured', () => {
    const pace = new Pace();
    for (let count = 0; count < 50; count += 1) pace.learn(1_000, 250, count * 100);
    expect(pace.msPerUnit(1, 5_000)).toBeGreaterThan(0.25);
    expect(pace.msPerUnit(1, 5_000)).toBeLessThan(0.35);
  });

  test('a tiny prompt whose wait is all network does not blow the pace up', () => {
    const pace = new Pace();
    for (let count = 0; count < 20; count += 1) {
      pace.learn(2_000, 500, count);
      pace.learn(32, 60, count);
    }
    expect(pace.msPerUnit(0.25, 20)).toBeLessThan(0.3);
  });

  test('evidence fades to the prior, so a backend that was slow once is tried again', () => {
    const pace = new Pace();
    for (let count = 0; count < 10; count += 1) pace.learn(100, 10_000, 0);
    expect(pace.msPerUnit(1, 0)).toBeGreaterThan(80);
    expect(pace.msPerUnit(1, 15 * 60_000)).toBeLessThan(1.1);
  });

  test('new evidence after a long silence outweighs what was learnt before it', () => {
    const pace = new Pace();
    for (let count = 0; count < 10; count += 1) pace.learn(100, 10_000, 0);
    for (let count = 0; count < 3; count += 1) pace.learn(100, 100, 15 * 60_000);
    expect(pace.msPerUnit(1, 15 * 60_000)).toBeLessThan(1.2);
  });

  test('a failure is charged seconds, more where first tokens take longer', () => {
    const pool = new PoolPace();
    expect(pool.penaltyMs()).toBe(5_000);
    for (let count = 0; count < 100; count += 1) pool.learn(1_000, 10_000, count);
    expect(pool.penaltyMs()).toBeGreaterThan(39_000);
  });

  test('a penalty halves every ten seconds and by each answer, and ends', () => {
    const penalty = new Penalty();
    penalty.charge(4_000, 0);
    expect(penalty.ms(10_000)).toBe(2_000);
    penalty.halve(10_000);
    expect(penalty.ms(10_000)).toBe(1_000);
    expect(penalty.ms(120_000)).toBe(0);
  });

  test('penalties add up to a minute at the most', () => {
    const penalty = new Penalty();
    for (let count = 0; count < 100; count += 1) penalty.charge(5_000, 0);
    expect(penalty.ms(0)).toBe(60_000);
  });
});
