import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { freshRead } from './fresh-read.ts';

/** A read that ends when the test says so. */
function heldRead() {
  const ends: ((value: number) => void)[] = [];
  const fails: ((error: Error) => void)[] = [];
  const read = () =>
    new Promise<number>((resolve, reject) => {
      ends.push(resolve);
      fails.push(reject);
    });
  return { read, ends, fails };
}
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a shared fresh read', () => {
  test('is never the one that ran before the caller came', async () => {
    const { read, ends } = heldRead();
    const fresh = freshRead(read);
    const early = fresh();
    const late = fresh();
    ends[0]!(1);
    expect(await early).toBe(1);
    await settle();
    ends[1]!(2);
    expect(await late).toBe(2);
  });

  test('serves all who came meanwhile by one more read', async () => {
    const { read, ends } = heldRead();
    const fresh = freshRead(read);
    const callers = Array.from({ length: 1_000 }, fresh);
    ends[0]!(1);
    await settle();
    ends[1]!(2);
    expect(new Set(await Promise.all(callers))).toEqual(new Set([1, 2]));
    expect(ends).toHaveLength(2);
  });

  test('that fails rejects those who waited for it, and the next goes on', async () => {
    const { read, ends, fails } = heldRead();
    const fresh = freshRead(read);
    const [first, second] = [fresh(), fresh()];
    fails[0]!(new Error('away'));
    await expect(first).rejects.toThrow('away');
    await settle();
    ends[1]!(2);
    expect(await second).toBe(2);
    const third = fresh();
    ends[2]!(3);
    expect(await third).toBe(3);
  });

  test('always began after the call, one at a time, whatever the order of events', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }),
        async (scheduler, fates) => {
          let began = 0;
          let running = 0;
          const fresh = freshRead(async () => {
            const at = (began += 1);
            expect((running += 1)).toBe(1);
            await scheduler.schedule(Promise.resolve());
            running -= 1;
            if (fates[at % fates.length]) throw new Error('away');
            return at;
          });
          const callers = fates.map(async () => {
            await scheduler.schedule(Promise.resolve());
            const before = began;
            const at = await fresh().catch(() => Number.POSITIVE_INFINITY);
            expect(at).toBeGreaterThan(before);
          });
          await scheduler.waitFor(Promise.all(callers));
        },
      ),
    );
  });
});
