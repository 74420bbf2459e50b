import OpenAI from 'openai';
import { afterEach, beforeAll, expect } from 'vitest';
import { hasOpenAiSpec, openOpenAiSpec, type OpenAiSpec } from './openai-spec.ts';

/**
 * Makes OpenAI's client for a server. For all tests of the file that calls it: what its clients hear is held
 * against OpenAI's description after each test, where that is present.
 */
export function checkedClients(): (server: { readonly url: string; readonly apiKey: string }) => OpenAI {
  let spec: OpenAiSpec | undefined;
  beforeAll(() => {
    spec = hasOpenAiSpec ? openOpenAiSpec() : undefined;
  });
  afterEach(async () => {
    expect((await spec?.violations()) ?? []).toEqual([]);
  });
  return ({ url, apiKey }) => {
    const fetch = spec === undefined ? {} : { fetch: spec.fetch };
    return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, ...fetch });
  };
}
