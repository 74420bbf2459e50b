import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RequestLog } from './request-log.ts';

const arrivals = fc.array(fc.oneof(fc.nat(500), fc.nat(70_000)), { minLength: 1, maxLength: 200 });

describe('RequestLog', () => {
  test('no window of 60 s ever holds more than the limit, and none that would fit is refused, also where some are kept free', () => {
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 1, max: 20 }), fc.nat(19), (gapsMs, perMinute, some) => {
        const kept = some % perMinute;
        const log = new RequestLog(perMinute);
        const taken: number[] = [];
        let nowMs = 0;
        for (const gapMs of gapsMs) {
          nowMs += gapMs;
          const recent = taken.filter((atMs) => atMs > nowMs - 60_000).length;
          const modestMs = log.waitMs(nowMs, kept);
          expect(modestMs === 0).toBe(recent < perMinute - kept);
          const modestThenMs = nowMs + modestMs;
          expect(taken.filter((atMs) => atMs > modestThenMs - 60_000).length).toBeLessThan(perMinute - kept);
          const waitMs = log.waitMs(nowMs);
          expect(waitMs === 0).toBe(recent < perMinute);
          if (waitMs > 0) {
            const thenMs = nowMs + waitMs;
            expect(taken.filter((atMs) => atMs > thenMs - 60_000).length).toBeLessThan(perMinute);
          } else {
            log.add(nowMs);
            taken.push(nowMs);
          }
        }
      }),
    );
  });
});
