import { z } from 'zod';
import type { ModelParameters } from '#release';

/** What both wires call by the same names. */
export const samplingShape = {
  temperature: z
    .number()
    .min(0)
    .max(2)
    .nullish()
    .describe('How freely words are chosen: 0 is the most repeatable. Absent: as the assistant says.'),
  top_p: z
    .number()
    .min(0)
    .max(1)
    .nullish()
    .describe('Only the likeliest words that make up this share are chosen from. Absent: as the assistant says.'),
};

export const tokensSchema = z.number().int().min(1).describe('Longest answer, in tokens.');

export const topLogprobsSchema = z
  .number()
  .int()
  .min(0)
  .max(20)
  .describe('So many likely tokens at each place, with their log probabilities.');

/** 64 bits; beyond 53 a number is not exact here, and the nearest stands for it. */
export const seedSchema = z
  .number()
  .min(-(2 ** 63))
  .max(2 ** 63)
  .refine((seed) => Number.isInteger(seed), 'must be a whole number');

export const effortSchema = z
  .string()
  .max(32)
  .describe('How long the model thinks: `low`, `medium`, `high` and others.');

/** Both wires' names of what steers a model; null and absent both mean: as the assistant says. */
interface WireParameters {
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly max_output_tokens?: number | null | undefined;
  readonly stop?: string | readonly string[] | null | undefined;
  readonly seed?: number | null | undefined;
  readonly presence_penalty?: number | null | undefined;
  readonly frequency_penalty?: number | null | undefined;
  readonly reasoning_effort?: string | null | undefined;
}

export function readParameters(wire: WireParameters): ModelParameters {
  return {
    ...(wire.temperature == null ? {} : { temperature: wire.temperature }),
    ...(wire.top_p == null ? {} : { topP: wire.top_p }),
    ...(wire.max_output_tokens == null ? {} : { maxOutputTokens: wire.max_output_tokens }),
    ...(wire.stop == null ? {} : { stop: typeof wire.stop === 'string' ? [wire.stop] : wire.stop }),
    ...(wire.seed == null ? {} : { seed: safeSeed(wire.seed) }),
    ...(wire.presence_penalty == null ? {} : { presencePenalty: wire.presence_penalty }),
    ...(wire.frequency_penalty == null ? {} : { frequencyPenalty: wire.frequency_penalty }),
    ...(wire.reasoning_effort == null ? {} : { reasoningEffort: wire.reasoning_effort }),
  };
}

/** The same for the same seed, and written as a whole number that fits everywhere. */
function safeSeed(seed: number): number {
  return Number.isSafeInteger(seed) ? seed : seed % Number.MAX_SAFE_INTEGER;
}
