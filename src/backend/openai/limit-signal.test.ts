import { describe, expect, test } from 'vitest';
import { durationMs, limitSignal } from './limit-signal.ts';

const nowMs = Date.UTC(2026, 0, 1);

describe('a duration', () => {
  test.each([
    ['1s', 1_000],
    ['6m0s', 360_000],
    ['120ms', 120],
    ['1h2m3.5s', 3_723_500],
    ['2m59.56s', 179_560],
    ['1d', 86_400_000],
    ['7', 7_000],
    ['0.25', 250],
    ['0', 0],
    [String(nowMs + 5_000), 5_000],
    [String(nowMs / 1_000 + 5), 5_000],
    ['Thu, 01 Jan 2026 00:00:20 GMT', 20_000],
    ['2026-01-01T00:00:20Z', 20_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['999999h', 86_400_000],
  ])('%s is read', (text, ms) => {
    expect(durationMs(text, nowMs)).toBe(ms);
  });

  test.each(['', 'soon', '-5', '1x', 's', '1s later', '1e9', 'NaN', 'Infinity'])('"%s" is left out', (text) => {
    expect(durationMs(text, nowMs)).toBeUndefined();
  });
});

describe('limits', () => {
  test('are read from every header that tells one', () => {
    const headers = {
      'x-ratelimit-remaining-requests': '12',
      'x-ratelimit-reset-requests': '120ms',
      'x-ratelimit-remaining-tokens': '3400',
      'x-ratelimit-reset-tokens': '6m0s',
      'retry-after': '2',
    };
    expect(limitSignal(headers, nowMs)).toEqual({
      requestsRemaining: 12,
      requestsResetMs: 120,
      tokensRemaining: 3_400,
      tokensResetMs: 360_000,
      retryAfterMs: 2_000,
    });
  });

  test('in milliseconds win over the rounded seconds', () => {
    expect(limitSignal({ 'retry-after-ms': '350', 'retry-after': '1' }, nowMs)).toEqual({ retryAfterMs: 350 });
  });

  test('that make no sense are left out', () => {
    const headers = { 'x-ratelimit-remaining-requests': '-1', 'retry-after-ms': 'x', 'retry-after': 'later' };
    expect(limitSignal(headers, nowMs)).toEqual({});
  });
});
