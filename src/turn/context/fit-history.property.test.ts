import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newId } from '#base';
import type { Item } from '#conversation';
import { fitHistory } from './fit-history.ts';
import { estimateItemTokens } from './tokens.ts';

const message = (role: 'user' | 'assistant', text: string): Item => ({
  kind: 'message',
  id: newId('message'),
  role,
  content: [{ type: 'text', text }],
  status: 'completed',
});
const call = (callId: string): Item => ({
  kind: 'call',
  id: newId('call'),
  callId,
  name: 'f',
  arguments: '{}',
  status: 'completed',
});
const result = (callId: string): Item => ({
  kind: 'result',
  id: newId('result'),
  callId,
  output: 'done',
  status: 'completed',
});

const items = fc.array(
  fc.oneof(
    fc.string({ maxLength: 200 }).map((text) => message('user', text)),
    fc.string({ maxLength: 200 }).map((text) => message('assistant', text)),
    fc.nat({ max: 5 }).map((n) => call(`call-${n}`)),
    fc.nat({ max: 5 }).map((n) => result(`call-${n}`)),
  ),
  { maxLength: 40 },
);

describe('fitHistory', () => {
  test('what is kept fits the budget, in order, and holds no call without result nor result without call', () => {
    fc.assert(
      fc.property(items, fc.nat({ max: 500 }), (older, budget) => {
        const kept = fitHistory(older, [], budget);
        expect(kept.reduce((sum, item) => sum + estimateItemTokens(item), 0)).toBeLessThanOrEqual(budget);
        expect(older.filter((item) => kept.includes(item))).toEqual(kept);
        const calls = new Set(kept.filter((item) => item.kind === 'call').map((item) => item.callId));
        const results = new Set(kept.filter((item) => item.kind === 'result').map((item) => item.callId));
        expect(results).toEqual(calls);
      }),
    );
  });

  test('the newest messages are the ones kept', () => {
    const older = [message('user', 'x'.repeat(400)), message('assistant', 'short'), message('user', 'last')];
    expect(fitHistory(older, [], 20)).toEqual(older.slice(1));
  });

  test('a call whose result is only now sent stays', () => {
    const older = [message('user', 'weather?'), call('call-1')];
    expect(fitHistory(older, [result('call-1')], 1000)).toEqual(older);
    expect(fitHistory(older, [], 1000)).toEqual(older.slice(0, 1));
  });
});
