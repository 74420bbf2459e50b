import { z } from 'zod';
import { nearestWord, shown, UsherError } from '#base';
import { BackendFailure, type EmbeddingBackend } from '#backend';
import type { TurnRooms } from '#turn';
import type { Exchange, Policy, Route } from '../exchange.ts';
import { embeddingFailure } from './embedding-failure.ts';
import { readBody, userSchema } from './read-body.ts';

/** By the name that applications ask for. */
export type EmbeddingModels = ReadonlyMap<string, EmbeddingBackend>;

/** Applications alone: a person's token is for talking with one assistant. */
const embeddingPolicy: Policy = { access: 'principal', kinds: ['key'], scope: 'talk' };

/** Tokens are of one model's own alphabet, which is not known here. */
const textSchema = z
  .string({
    error: ({ code, input }) =>
      code === 'invalid_type' && (typeof input === 'number' || Array.isArray(input))
        ? 'must be text, not tokens: send the texts themselves, as strings'
        : undefined,
  })
  .min(1);

const embeddingsSchema = z.object({
  model: z.string().min(1).describe('An embedding model, as `GET /v1/models` lists it.'),
  input: z
    .union([textSchema, z.array(textSchema).min(1).max(2048)])
    .describe('A text, or up to 2048 of them; none may be empty. Tokens are not read.'),
  encoding_format: z
    .enum(['float', 'base64'])
    .nullish()
    .describe('A list of numbers, or base64 of little-endian 32-bit floats. Absent: `float`.'),
  dimensions: z
    .number()
    .int()
    .min(1)
    .max(65_536)
    .nullish()
    .describe('Numbers in each vector, for models that can shorten them. Absent: as many as the model has.'),
  user: userSchema.nullish().describe('Read for the sake of clients that send it; neither kept nor passed on.'),
});

export function embeddingRoutes(rooms: TurnRooms, models: EmbeddingModels): Route[] {
  return [
    {
      method: 'POST',
      path: '/v1/embeddings',
      policy: embeddingPolicy,
      summary: 'Turns texts into vectors, near to each other where the texts are. Nothing of it is stored.',
      body: embeddingsSchema,
      answer: 'A list of `embedding` objects in the order of the texts, with the tokens used.',
      handle: (exchange) => createEmbeddings(rooms, models, exchange),
    },
  ];
}

async function createEmbeddings(rooms: TurnRooms, models: EmbeddingModels, exchange: Exchange): Promise<void> {
  const body = readBody(embeddingsSchema, await exchange.json());
  const backend = models.get(body.model);
  if (backend === undefined) throw noSuchModel(body.model, [...models.keys()]);
  const texts = typeof body.input === 'string' ? [body.input] : body.input;
  if (rooms.draining()) {
    throw new UsherError('shutting_down', 'This node is stopping. Repeat the request; another node will take it.', {
      retryAfterMs: 1000,
    });
  }
  const release = rooms.limits.admit(exchange.principal, rooms.clock.monotonicMs());
  try {
    const { vectors, inputTokens } = await embed(rooms, backend, exchange, texts, body.dimensions ?? undefined);
    const write = body.encoding_format === 'base64' ? base64Of : (vector: Float32Array): number[] => [...vector];
    exchange.sendJson(200, {
      object: 'list',
      data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: write(vector) })),
      model: backend.name,
      usage: { prompt_tokens: inputTokens, total_tokens: inputTokens },
    });
  } finally {
    release(rooms.clock.monotonicMs());
  }
}

/** Asks the model and tells what came of it. @throws UsherError */
async function embed(
  { clock, telemetry }: TurnRooms,
  backend: EmbeddingBackend,
  { principal, signal }: Exchange,
  texts: readonly string[],
  dimensions: number | undefined,
): ReturnType<EmbeddingBackend['embed']> {
  const startMs = clock.monotonicMs();
  const tell = (result: string, reason: string | undefined, inputTokens: number): void =>
    telemetry.embeddingFinished({
      tenant: principal.tenant,
      model: backend.name,
      result,
      reason,
      texts: texts.length,
      inputTokens,
      durationMs: clock.monotonicMs() - startMs,
    });
  try {
    const embedded = await backend.embed(texts, dimensions === undefined ? {} : { dimensions }, signal);
    tell('done', undefined, embedded.inputTokens);
    return embedded;
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    tell(error.kind, error.message, 0);
    // The caller left: what they are told of it is the edge's own.
    signal.throwIfAborted();
    throw embeddingFailure(error);
  }
}

function base64Of(vector: Float32Array): string {
  const bytes = Buffer.allocUnsafe(vector.length * 4);
  for (const [at, number] of vector.entries()) bytes.writeFloatLE(number, at * 4);
  return bytes.toString('base64');
}

function noSuchModel(name: string, known: readonly string[]): UsherError {
  const nearest = nearestWord(name, known);
  const mend =
    nearest !== undefined
      ? `Did you mean "${nearest}"?`
      : known.length > 0
        ? `Embedding models here: ${known.slice(0, 10).join(', ')}.`
        : 'There are none here: the owner declares them under embeddings in usher.yaml.';
  return new UsherError('model_not_found', `There is no embedding model "${shown(name)}". ${mend}`, { param: 'model' });
}
