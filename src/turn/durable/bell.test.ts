import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Bell } from './bell.ts';

const { signal: never } = new AbortController();

describe('a bell', () => {
  test('listens once to a change that does not come, however often it is waited for', async () => {
    class Listened extends Promise<void> {
      static count = 0;
      static override get [Symbol.species](): PromiseConstructor {
        Listened.count += 1;
        return Promise;
      }
    }
    const changed = new Listened(() => undefined);
    const bell = new Bell();
    for (let count = 0; count < 20; count += 1) await bell.wait(changed, 1, never);
    expect(Listened.count).toBe(1);
  });

  test('rings at a change, at one that came between two waits, and when its listener leaves', async () => {
    const bell = new Bell();
    const first = Promise.withResolvers<void>();
    const waiting = bell.wait(first.promise, 60_000, never);
    first.resolve();
    await waiting;
    const second = Promise.withResolvers<void>();
    await bell.wait(second.promise, 1, never);
    second.resolve();
    await delay(1);
    await bell.wait(second.promise, 60_000, never);
    const leaving = new AbortController();
    const left = bell.wait(new Promise(() => undefined), 60_000, leaving.signal);
    leaving.abort();
    await left;
    await bell.wait(undefined, 60_000, leaving.signal);
  });
});
