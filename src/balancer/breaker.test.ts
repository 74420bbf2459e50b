import { describe, expect, test } from 'vitest';
import { Breaker, type Outcome } from './breaker.ts';

function send(breaker: Breaker, outcome: Outcome, nowMs: number): boolean {
  return breaker.settle(breaker.admit(nowMs), outcome, nowMs);
}

function opened(nowMs = 0): Breaker {
  const breaker = new Breaker();
  for (let count = 0; count < 5; count += 1) send(breaker, 'failed', nowMs);
  expect(breaker.state).toBe('open');
  return breaker;
}

describe('Breaker', () => {
  test('five failures in a row open it for a second', () => {
    const breaker = new Breaker();
    for (let count = 0; count < 4; count += 1) expect(send(breaker, 'failed', 100)).toBe(false);
    expect(breaker.state).toBe('closed');
    expect(send(breaker, 'failed', 100)).toBe(true);
    expect(breaker.state).toBe('open');
    expect(breaker.openUntilMs).toBe(1_100);
    expect(breaker.waitMs(600)).toBe(500);
  });

  test('an answer in between starts the row anew', () => {
    const breaker = new Breaker();
    for (const outcome of ['failed', 'failed', 'failed', 'failed', 'answered', 'failed'] as const) {
      send(breaker, outcome, 0);
    }
    expect(breaker.state).toBe('closed');
  });

  test('half of ten outcomes within ten seconds open it, fewer outcomes do not', () => {
    const breaker = new Breaker();
    for (let count = 0; count < 4; count += 1) {
      send(breaker, 'answered', count);
      send(breaker, 'failed', count);
    }
    expect(breaker.state).toBe('closed');
    send(breaker, 'answered', 9_000);
    send(breaker, 'failed', 9_000);
    expect(breaker.state).toBe('open');
  });

  test('an hour of health does not hide a total outage', () => {
    const breaker = new Breaker();
    for (let second = 0; second < 3_600; second += 1) send(breaker, 'answered', second * 1_000);
    for (let count = 0; count < 5; count += 1) send(breaker, 'failed', 3_600_000);
    expect(breaker.state).toBe('open');
  });

  test('outcomes that say nothing of the backend never count', () => {
    const breaker = new Breaker();
    for (let count = 0; count < 4; count += 1) send(breaker, 'failed', 0);
    for (let count = 0; count < 100; count += 1) send(breaker, 'neutral', 0);
    expect(breaker.state).toBe('closed');
    send(breaker, 'failed', 0);
    expect(breaker.state).toBe('open');
  });

  test("one failure by the owner's configuration opens it at once for the longest period", () => {
    const breaker = new Breaker();
    send(breaker, 'misconfigured', 0);
    expect(breaker.openUntilMs).toBe(30_000);
    expect(breaker.misconfigured).toBe(true);
  });

  test('a failure that arrives after the opening neither shortens nor lengthens the period', () => {
    const breaker = new Breaker();
    const late = breaker.admit(0);
    for (let count = 0; count < 5; count += 1) send(breaker, 'failed', 0);
    const untilMs = breaker.openUntilMs;
    for (const outcome of ['failed', 'misconfigured', 'answered'] as const) {
      breaker.settle(late, outcome, 500);
      expect(breaker.state).toBe('open');
      expect(breaker.openUntilMs).toBe(untilMs);
    }
  });

  test('after the period exactly one request probes, and its answer closes', () => {
    const breaker = opened();
    expect(breaker.probeDue(999)).toBe(false);
    expect(breaker.probeDue(1_000)).toBe(true);
    const probe = breaker.admit(1_000);
    expect(probe.probe).toBe(true);
    expect(breaker.state).toBe('probing');
    expect(breaker.probeDue(1_000_000)).toBe(false);
    expect(breaker.admit(1_001).probe).toBe(false);
    breaker.settle(probe, 'answered', 1_200);
    expect(breaker.state).toBe('closed');
    expect(breaker.openUntilMs).toBeUndefined();
  });

  test('the first token of the probe closes; cut after it, the request counts as a failure', () => {
    const breaker = opened();
    const pass = breaker.served(breaker.admit(1_000), 1_100);
    expect(breaker.state).toBe('closed');
    breaker.settle(pass, 'failed', 5_000);
    for (let count = 0; count < 3; count += 1) send(breaker, 'failed', 5_000);
    expect(breaker.state).toBe('closed');
    send(breaker, 'failed', 5_000);
    expect(breaker.state).toBe('open');
    expect(breaker.openUntilMs).toBe(7_000);
  });

  test('a first token of a request sent before the outage does not close it', () => {
    const breaker = new Breaker();
    const early = breaker.admit(0);
    for (let count = 0; count < 5; count += 1) send(breaker, 'failed', 0);
    expect(breaker.served(early, 500)).toBe(early);
    expect(breaker.state).toBe('open');
  });

  test('each failed probe doubles the period, up to thirty seconds', () => {
    const breaker = opened();
    const periods: number[] = [];
    for (let count = 0; count < 7; count += 1) {
      const nowMs = breaker.openUntilMs!;
      send(breaker, 'failed', nowMs);
      periods.push(breaker.openUntilMs! - nowMs);
    }
    expect(periods).toEqual([2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  test('a probe whose client left leaves the next one due at once', () => {
    const breaker = opened();
    send(breaker, 'neutral', 1_000);
    expect(breaker.state).toBe('open');
    expect(breaker.probeDue(1_000)).toBe(true);
  });

  test('reopening soon after closing goes on with the longer period; a minute of health forgives', () => {
    const soon = opened();
    send(soon, 'answered', 1_000);
    for (let count = 0; count < 5; count += 1) send(soon, 'failed', 2_000);
    expect(soon.openUntilMs).toBe(4_000);

    const late = opened();
    send(late, 'answered', 1_000);
    for (let count = 0; count < 5; count += 1) send(late, 'failed', 61_000);
    expect(late.openUntilMs).toBe(62_000);
  });

  test('an answer to a request sent by panic after the opening closes it; a failure changes nothing', () => {
    const breaker = opened();
    const untilMs = breaker.openUntilMs;
    send(breaker, 'failed', 300);
    expect(breaker.openUntilMs).toBe(untilMs);
    send(breaker, 'answered', 500);
    expect(breaker.state).toBe('closed');
  });

  test('a probe overtaken by such an answer does not open it again', () => {
    const breaker = opened();
    const probe = breaker.admit(1_000);
    send(breaker, 'answered', 1_001);
    breaker.settle(probe, 'failed', 1_002);
    expect(breaker.state).toBe('closed');
  });
});
