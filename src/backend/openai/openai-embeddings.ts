import { setTimeout as sleep } from 'node:timers/promises';
import { openEgress, type Egress } from '#egress';
import type { Embedded, EmbeddingBackend, EmbeddingOptions } from '../embedding-backend.ts';
import { BackendFailure } from '../port.ts';
import { descriptionOf, endpointOf, type Endpoint, type EndpointOptions } from './endpoint.ts';
import { abortedFailure, garbageFailure } from './failure.ts';
import { fetchJson } from './fetch-json.ts';
import { readEmbeddings } from './read-embeddings.ts';

export interface OpenAiEmbeddingsOptions extends EndpointOptions {
  /** Texts in one request to the server, 256 at the most. */
  readonly batchTexts: number;
  /** Until the vectors of one batch are there. */
  readonly timeoutMs: number;
}

const batchTextsMax = 256;
/** 256 vectors of 4096 numbers, written out at length, are some 25 MB. */
const bodyBytesMax = 64 * 1024 * 1024;
const retryMs = 250;
/** A server that asks for more is the caller's to wait for. */
const retryMaxMs = 2_000;

/**
 * An embedding model behind the OpenAI wire: OpenAI, Azure OpenAI, vLLM, Ollama, llama.cpp, Text
 * Embeddings Inference and their like. Opens no connection before it is asked.
 * @throws UsherError `config_invalid`
 */
export function openOpenAiEmbeddings(options: OpenAiEmbeddingsOptions): EmbeddingBackend {
  const endpoint = endpointOf(options);
  const egress = openEgress(new URL(options.url));
  const batchTexts = Math.min(options.batchTexts, batchTextsMax);
  return {
    name: options.name,
    description: descriptionOf(options),
    model: options.deployment ?? options.model ?? options.name,
    embed: async (texts, wanted, signal) => {
      const batches: Embedded[] = [];
      for (let start = 0; start < texts.length; start += batchTexts) {
        const batch = { texts: texts.slice(start, start + batchTexts), ...wanted };
        batches.push(await embedBatch({ endpoint, egress, batch, timeoutMs: options.timeoutMs, signal }));
      }
      return joined(endpoint, batches);
    },
    close: () => egress.close(),
  };
}

interface BatchRequest {
  readonly endpoint: Endpoint;
  readonly egress: Egress;
  readonly batch: EmbeddingOptions & { readonly texts: readonly string[] };
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Asks once more where the server may be well by then: no work is done twice that anybody sees. */
async function embedBatch(request: BatchRequest): Promise<Embedded> {
  const { endpoint, signal } = request;
  try {
    return await ask(request);
  } catch (error) {
    const waitMs = retryWaitMs(error);
    if (waitMs === undefined) throw withoutKey(endpoint, error);
    try {
      await sleep(waitMs, undefined, { signal });
    } catch {
      throw abortedFailure(endpoint.place);
    }
  }
  return ask(request).catch((error: unknown) => {
    throw withoutKey(endpoint, error);
  });
}

async function ask({ endpoint, egress, batch, timeoutMs, signal }: BatchRequest): Promise<Embedded> {
  const { texts, dimensions } = batch;
  const body = JSON.stringify({
    ...(endpoint.model === undefined ? {} : { model: endpoint.model }),
    input: texts,
    // A quarter of the bytes of numbers written out; servers that do not know it send those.
    encoding_format: 'base64',
    ...(dimensions === undefined ? {} : { dimensions }),
  });
  const headers = { ...endpoint.headers, accept: 'application/json' };
  const request = { method: 'POST', path: endpoint.modelPath('embeddings'), headers, body } as const;
  const answer = await fetchJson(endpoint.place, egress, request, timeoutMs, signal, bodyBytesMax);
  return readEmbeddings(endpoint.place, answer, { count: texts.length, dimensions });
}

/** Undefined where a repeat would fail as well, or cost what the first cost. */
function retryWaitMs(error: unknown): number | undefined {
  if (!(error instanceof BackendFailure) || !['connect', 'server', 'cut'].includes(error.kind)) return undefined;
  const waitMs = error.limits.retryAfterMs ?? retryMs;
  return waitMs <= retryMaxMs ? waitMs : undefined;
}

/** A server may quote the key as its error's code. */
function withoutKey({ place, apiKey }: Endpoint, error: unknown): unknown {
  if (!(error instanceof BackendFailure) || apiKey === undefined || apiKey === '') return error;
  if (error.backendCode?.includes(apiKey) !== true) return error;
  const { kind, status, limits } = error;
  const message = `Backend "${place.backend}" refused the request.`;
  return new BackendFailure(kind, place.backend, message, { limits, ...(status === undefined ? {} : { status }) });
}

function joined({ place }: Endpoint, batches: readonly Embedded[]): Embedded {
  const vectors = batches.flatMap((batch) => batch.vectors);
  const length = vectors[0]?.length;
  if (vectors.some((vector) => vector.length !== length)) {
    throw garbageFailure(place, 'its vectors have several lengths');
  }
  return { vectors, inputTokens: batches.reduce((sum, batch) => sum + batch.inputTokens, 0) };
}
