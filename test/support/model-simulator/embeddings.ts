import { hashText, tokenize } from './tokens.ts';

export interface EmbeddingBody {
  readonly model: string;
  readonly input: string | readonly string[];
  readonly dimensions?: number;
  readonly encoding_format?: 'float' | 'base64';
}

export interface EmbeddingAnswer {
  readonly body: {
    readonly object: 'list';
    readonly data: readonly object[];
    readonly model: string;
    readonly usage: { readonly prompt_tokens: number; readonly total_tokens: number };
  };
  /** Of each text. */
  readonly textTokens: readonly number[];
}

const ownDimensions = 256;

export function isEmbeddingBody(body: unknown): body is EmbeddingBody {
  if (typeof body !== 'object' || body === null) return false;
  const { model, input } = body as Partial<EmbeddingBody>;
  if (typeof model !== 'string') return false;
  return typeof input === 'string' || (Array.isArray(input) && input.every((text) => typeof text === 'string'));
}

export function textsOf({ input }: EmbeddingBody): readonly string[] {
  return typeof input === 'string' ? [input] : input;
}

/** The answer to a request; the same texts always have the same vectors. */
export function embeddings(request: EmbeddingBody): EmbeddingAnswer {
  const { model, dimensions = ownDimensions, encoding_format: format } = request;
  const texts = textsOf(request);
  const textTokens = texts.map((text) => tokenize(text).length);
  const tokens = textTokens.reduce((sum, count) => sum + count, 0);
  const data = texts.map((text, index) => {
    const vector = wordVector(text, dimensions);
    const embedding = format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector];
    return { object: 'embedding', index, embedding };
  });
  return {
    body: { object: 'list', data, model, usage: { prompt_tokens: tokens, total_tokens: tokens } },
    textTokens,
  };
}

/**
 * A bag of words, hashed: each word adds 1 or -1 at two places of its own, and the whole is of length 1.
 * Texts that share words are near to each other.
 */
function wordVector(text: string, dimensions: number): Float32Array<ArrayBuffer> {
  const vector = new Float32Array(dimensions);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [text]) {
    for (const seed of [1, 2]) {
      const hash = hashText(word, seed);
      vector[(hash >>> 1) % dimensions]! += hash % 2 === 0 ? 1 : -1;
    }
  }
  const length = Math.hypot(...vector);
  // Words that cancel each other out still have a direction.
  if (length === 0) vector[hashText(text) % dimensions] = 1;
  return length === 0 ? vector : vector.map((number) => number / length);
}
