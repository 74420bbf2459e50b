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
