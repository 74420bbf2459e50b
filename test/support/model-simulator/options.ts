/** How the simulated model server behaves. JSON-safe, since it travels to another process. */
export interface SimulatorOptions {
  /** Port of the model's wire; 0 for any free one. */
  readonly port: number;
  /** Names listed at `/v1/models`. */
  readonly models: readonly string[];
  /** Refuse other model names with 404, as OpenAI does. */
  readonly strictModels: boolean;
  /** Accepted keys; empty: none is asked for. */
  readonly apiKeys: readonly string[];
  /** Pace at which uncached prompt tokens are read, one prompt after the other; 0: at once. */
  readonly prefillTokensPerSecond: number;
  /** Time of one answer token of a sequence that runs alone; 0: at once. */
  readonly tokenMs: number;
  /** Each further running sequence adds this share of `tokenMs` to every token. */
  readonly batchSlowdown: number;
  /** Sequences that run at once; further ones wait in line. 0: no limit. */
  readonly concurrency: number;
  /** Prompt and answer together; a longer prompt gets `context_length_exceeded`. */
  readonly contextTokens: number;
  /** Length of an answer that nothing else determines. */
  readonly answerTokens: number;
  /** Capacity of the prefix cache in blocks; 0: no cache. */
  readonly cacheBlocks: number;
  readonly blockTokens: number;
  /** Limits by API key, refilled continuously; 0: none. */
  readonly requestsPerMinute: number;
  readonly tokensPerMinute: number;
  /** Requests that the journal remembers, oldest forgotten first; 0 for benches. */
  readonly journalMax: number;
}

export const defaultOptions: SimulatorOptions = {
  port: 0,
  models: ['simulated'],
  strictModels: false,
  apiKeys: [],
  prefillTokensPerSecond: 0,
  tokenMs: 0,
  batchSlowdown: 0,
  concurrency: 0,
  contextTokens: 131_072,
  answerTokens: 16,
  cacheBlocks: 4096,
  blockTokens: 16,
  requestsPerMinute: 0,
  tokensPerMinute: 0,
  journalMax: 10_000,
};

/** Merges what was asked for over the defaults. @throws Error on a name or type that does not exist. */
export function readOptions(given: Readonly<Record<string, unknown>>, base = defaultOptions): SimulatorOptions {
  for (const [name, value] of Object.entries(given)) {
    const known = (base as unknown as Record<string, unknown>)[name];
    if (known === undefined) throw new Error(`the simulator has no option "${name}"`);
    const fits = Array.isArray(known) ? Array.isArray(value) : typeof value === typeof known;
    if (!fits)
      throw new Error(`option "${name}" of the simulator takes ${Array.isArray(known) ? 'a list' : typeof known}`);
  }
  return { ...base, ...given };
}
