import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Breaker, type Pass } from './breaker.ts';

const outcome = fc.constantFrom('answered', 'failed', 'misconfigured', 'neutral');
const step = fc.oneof(
  fc.record({ do: fc.constant('send' as const), afterMs: fc.nat(3_000) }),
  fc.record({ do: fc.constant('token' as const), afterMs: fc.nat(3_000), which: fc.nat(50) }),
  fc.record({ do: fc.constant('end' as const), afterMs: fc.nat(3_000), which: fc.nat(50), outcome }),
);

describe('Breaker, under any order of requests and outcomes', () => {
  test('an open period is never shortened but by a request served within it, and one probe runs at most', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const breaker = new Breaker();
        const underWay: { pass: Pass; readonly sentMs: number }[] = [];
        let nowMs = 0;
        let openedMs = 0;
        for (const action of steps) {
          nowMs += action.afterMs;
          const before = { state: breaker.state, untilMs: breaker.openUntilMs };
          if (action.do === 'send') {
            underWay.push({ pass: breaker.admit(nowMs), sentMs: nowMs });
          } else if (action.do === 'token' && underWay.length > 0) {
            const sent = underWay[action.which % underWay.length]!;
            sent.pass = breaker.served(sent.pass, nowMs);
            if (before.state !== 'closed' && breaker.state === 'closed') {
              expect(sent.sentMs).toBeGreaterThanOrEqual(openedMs);
            }
          } else if (action.do === 'end' && underWay.length > 0) {
            const [sent] = underWay.splice(action.which % underWay.length, 1);
            const opened = breaker.settle(sent!.pass, action.outcome, nowMs);
            expect(opened && breaker.state !== 'open').toBe(false);
            if (opened) openedMs = nowMs;
            if (before.state !== 'closed' && breaker.state === 'closed') {
              expect(action.outcome).toBe('answered');
              expect(sent!.sentMs).toBeGreaterThanOrEqual(openedMs);
            }
          }
          if (before.untilMs !== undefined && breaker.openUntilMs !== undefined) {
            expect(breaker.openUntilMs).toBeGreaterThanOrEqual(before.untilMs);
          }
          if (breaker.state === 'probing') {
            const probes = underWay.filter(({ pass, sentMs }) => pass.probe && sentMs >= openedMs);
            expect(probes).toHaveLength(1);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});
