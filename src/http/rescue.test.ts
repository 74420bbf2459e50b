import { describe, expect, test } from 'vitest';
import { UsherError, type ErrorCode } from '#base';
import { rescue } from './rescue.ts';

const statuses: Record<ErrorCode, number> = {
  invalid_request: 400,
  invalid_credentials: 401,
  forbidden: 403,
  not_found: 404,
  model_not_found: 404,
  previous_response_not_found: 400,
  method_not_allowed: 405,
  conflict: 409,
  conversation_locked: 400,
  request_timeout: 408,
  too_large: 413,
  unsupported_media_type: 415,
  context_too_long: 400,
  rate_limited: 429,
  overloaded: 503,
  shutting_down: 503,
  not_ready: 503,
  client_gone: 499,
  backend_refused: 400,
  backend_unavailable: 503,
  backend_timeout: 504,
  backend_broken: 502,
  format_broken: 502,
  storage_full: 507,
  storage_unavailable: 503,
  data_damaged: 500,
  config_invalid: 500,
  interrupted: 500,
  internal: 500,
};

function rescued(code: ErrorCode, details: { param?: string; retryAfterMs?: number } = {}) {
  const { headers, ...rest } = rescue(new UsherError(code, 'Why, and the mend.', details), 'req_1');
  return { ...rest, headers: Object.fromEntries(headers) };
}

describe('a failure on the wire', () => {
  test.each(Object.entries(statuses) as [ErrorCode, number][])('%s has status %i', (code, status) => {
    expect(rescued(code).status).toBe(status);
  });

  test('says why, and where, below 500', () => {
    expect(rescued('invalid_request', { param: 'messages[0].role' }).body).toEqual({
      error: {
        message: 'Why, and the mend.',
        type: 'invalid_request_error',
        param: 'messages[0].role',
        code: 'invalid_request',
      },
    });
  });

  test('says a code and the request id from 500 up, and nothing else', () => {
    for (const code of Object.keys(statuses) as ErrorCode[]) {
      if (statuses[code] < 500) continue;
      const { error } = rescued(code, { param: 'secret' }).body;
      expect(error).toEqual({
        message: `The request failed with ${code}; its id in the log is req_1.`,
        type: 'server_error',
        param: null,
        code,
      });
    }
  });

  test('uses the words that OpenAI clients act on', () => {
    expect(rescued('invalid_credentials').body.error).toMatchObject({
      code: 'invalid_api_key',
      type: 'authentication_error',
    });
    expect(rescued('context_too_long').body.error.code).toBe('context_length_exceeded');
    expect(rescued('rate_limited').body.error).toMatchObject({ code: 'rate_limit_exceeded', type: 'rate_limit_error' });
  });

  test('says when to come back in whole seconds rounded up, and exactly', () => {
    expect(rescued('rate_limited', { retryAfterMs: 1200.4 }).headers).toEqual({
      'retry-after': '2',
      'retry-after-ms': '1201',
    });
    expect(rescued('overloaded', { retryAfterMs: -5 }).headers).toEqual({ 'retry-after': '0', 'retry-after-ms': '0' });
  });

  test('tells clients not to repeat what a repeat cannot mend', () => {
    for (const code of [
      'conflict',
      'conversation_locked',
      'storage_full',
      'data_damaged',
      'internal',
      'invalid_request',
    ] as const) {
      expect(rescued(code).headers['x-should-retry']).toBe('false');
    }
    for (const code of ['request_timeout', 'rate_limited', 'overloaded', 'backend_timeout'] as const) {
      expect(rescued(code).headers['x-should-retry']).toBeUndefined();
    }
  });

  test('is internal for whatever is thrown that is not ours', () => {
    for (const thrown of [new Error('secret'), 'secret', undefined, null, { code: 'not_found' }]) {
      const { status, body } = rescue(thrown, 'req_1');
      expect([status, body.error.code]).toEqual([500, 'internal']);
      expect(JSON.stringify(body)).not.toContain('secret');
    }
  });
});
