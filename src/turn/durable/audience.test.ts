import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Audience } from './audience.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a turn that nobody listens to any more is stopped after its time, and one that is over waits for nobody', () => {
  const left = new Audience(60_000);
  left.join()();
  vi.advanceTimersByTime(59_999);
  expect(left.gone.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(left.gone.aborted).toBe(true);

  const over = new Audience(60_000);
  const leave = over.join();
  over.close();
  // Who heard it from the store learns of its end after that. A timer would keep a stopped process alive.
  leave();
  over.heardElsewhere(true);
  expect(vi.getTimerCount()).toBe(0);
});

test('who is to be waited for longer is, also once their time runs: a person is awaited, and nobody has come yet', () => {
  const taken = new Audience(0);
  vi.advanceTimersByTime(9000);
  taken.outlive(60_000);
  vi.advanceTimersByTime(59_000);
  expect(taken.gone.aborted).toBe(false);
  vi.advanceTimersByTime(2000);
  expect(taken.gone.aborted).toBe(true);
});

test('whoever leaves here stops nothing that is heard elsewhere', () => {
  const leaving = new Audience(0);
  leaving.heardElsewhere(true);
  leaving.join()();
  vi.advanceTimersByTime(9000);
  expect(leaving.gone.aborted).toBe(false);
  leaving.heardElsewhere(true);
  vi.advanceTimersByTime(9000);
  expect(leaving.gone.aborted).toBe(false);
  leaving.heardElsewhere(false);
  vi.advanceTimersByTime(1001);
  expect(leaving.gone.aborted).toBe(true);
});

test('who left while the answer was made is waited for as long as the person who answers them', () => {
  const leaving = new AbortController();
  const audience = new Audience(30_000, { relay: () => undefined, signal: leaving.signal });
  leaving.abort();
  vi.advanceTimersByTime(29_000);
  audience.outlive(600_000);
  vi.advanceTimersByTime(500_000);
  expect(audience.gone.aborted).toBe(false);
  audience.join()();
  vi.advanceTimersByTime(599_000);
  expect(audience.gone.aborted).toBe(false);
  vi.advanceTimersByTime(2000);
  expect(audience.gone.aborted).toBe(true);
});
