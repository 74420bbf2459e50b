import type { TenantId } from '#access';
import { BackendFailure, type EmbeddingBackend } from '#backend';
import type { Telemetry } from '#telemetry';
import type { PublishRooms } from './publish-release.ts';

export interface VectorRooms extends PublishRooms {
  readonly telemetry: Pick<
    Telemetry,
    'embeddingFinished' | 'knowledgeEmbedded' | 'knowledgeUnembedded' | 'storeFailed' | 'unexpected'
  >;
}

export type EmbeddedTexts =
  | { readonly result: 'done'; readonly vectors: readonly Float32Array[] }
  /** `reason` is a sentence; no secret. `isRefused`: it is these texts that the model does not take. */
  | { readonly result: 'failed'; readonly reason: string; readonly isRefused: boolean };

/** Asks the model and tells what came of it. */
export async function embedTexts(
  { clock, telemetry }: Pick<VectorRooms, 'clock' | 'telemetry'>,
  tenant: TenantId,
  model: EmbeddingBackend,
  texts: readonly string[],
  signal: AbortSignal,
): Promise<EmbeddedTexts> {
  const startMs = clock.monotonicMs();
  const tell = (result: string, reason: string | undefined, inputTokens: number): void =>
    telemetry.embeddingFinished({
      tenant,
      model: model.name,
      result,
      reason,
      texts: texts.length,
      inputTokens,
      durationMs: clock.monotonicMs() - startMs,
    });
  try {
    const { vectors, inputTokens } = await model.embed(texts, {}, signal);
    tell('done', undefined, inputTokens);
    return { result: 'done', vectors };
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    tell(error.kind, error.message, 0);
    return { result: 'failed', reason: error.message, isRefused: error.kind === 'refused' };
  }
}
