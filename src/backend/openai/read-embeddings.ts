import type { Embedded } from '../embedding-backend.ts';
import { BackendFailure } from '../port.ts';
import { errorCode } from './chunk-reader.ts';
import { garbageFailure, serverFailure, type Place } from './failure.ts';

export interface WantedVectors {
  readonly count: number;
  readonly dimensions: number | undefined;
}

/**
 * A `CreateEmbeddingResponse`, its vectors as base64 of little-endian floats or as lists of numbers, put
 * in the order of the texts by their `index`.
 * @throws BackendFailure where a vector is missing, is not as long as was asked for, or holds what is no number
 */
export function readEmbeddings(place: Place, body: unknown, { count, dimensions }: WantedVectors): Embedded {
  const { data, usage, error } = asRecord(body);
  if (error !== undefined && error !== null) throw serverFailure(place, errorCode(error), {});
  if (!Array.isArray(data)) throw garbageFailure(place, 'it answered no list of vectors');
  if (data.length !== count) throw garbageFailure(place, `it answered ${data.length} vectors for ${count} texts`);
  const vectors = new Map(data.map((entry: unknown, at) => [indexOf(entry, at), readVector(place, entry)]));
  const ordered = Array.from({ length: count }, (_, at) => vectors.get(at));
  if (!ordered.every((vector) => vector !== undefined)) throw garbageFailure(place, 'its vectors are numbered wrongly');
  const length = ordered[0]?.length;
  if (dimensions !== undefined && length !== dimensions) throw otherDimensions(place, dimensions, length);
  return { vectors: ordered, inputTokens: tokensOf(usage) };
}

function readVector(place: Place, entry: unknown): Float32Array {
  const { embedding } = asRecord(entry);
  const vector =
    typeof embedding === 'string'
      ? decodeFloats(embedding)
      : Array.isArray(embedding) && embedding.every((number) => typeof number === 'number')
        ? Float32Array.from(embedding)
        : undefined;
  if (vector === undefined || vector.length === 0 || !vector.every((number) => Number.isFinite(number))) {
    throw garbageFailure(place, 'it answered a vector that is not one of numbers');
  }
  return vector;
}

/** Undefined where the text is not base64 of whole floats. */
function decodeFloats(text: string): Float32Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.length % 4 !== 0 || bytes.toString('base64').replace(/=+$/, '') !== text.replace(/=+$/, '')) {
    return undefined;
  }
  return Float32Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(at * 4));
}

/** Some servers leave it out, and keep the order. */
function indexOf(entry: unknown, at: number): unknown {
  return asRecord(entry)['index'] ?? at;
}

function tokensOf(usage: unknown): number {
  const { prompt_tokens: prompt, total_tokens: total } = asRecord(usage);
  const tokens = prompt ?? total;
  return typeof tokens === 'number' && Number.isSafeInteger(tokens) && tokens > 0 ? tokens : 0;
}

/** The request's fault: the model has no such vectors, and its server did not say so. */
function otherDimensions(place: Place, wanted: number, length: number | undefined): BackendFailure {
  return new BackendFailure(
    'refused',
    place.backend,
    `Backend "${place.backend}" gives vectors of ${length} numbers, not of the ${wanted} asked for.`,
    { backendCode: dimensionsRefused },
  );
}

/** The code of a model that does not give vectors of the length asked for. */
export const dimensionsRefused = 'dimensions_refused';

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
