import type { EmbeddingsFile } from './embeddings-config-schema.ts';
import type { EmbeddingsConfig } from './server-config.ts';

export function buildEmbeddings(declared: EmbeddingsFile): EmbeddingsConfig {
  const { name, kind, url, batchTexts, timeoutMs } = declared;
  return {
    name,
    kind,
    url: url.replace(/\/+$/, ''),
    model: kind === 'azure-openai' ? undefined : (declared.model ?? name),
    deployment: kind === 'azure-openai' ? declared.deployment : undefined,
    apiVersion: kind === 'azure-openai' ? azureVersion(declared) : undefined,
    batchTexts,
    timeoutMs,
  };
}

/** The addresses under `/openai/v1` have no versions. */
export function azureVersion(backend: {
  readonly url: string;
  readonly apiVersion?: string | undefined;
}): string | undefined {
  return backend.apiVersion ?? (/\/openai\/v1\/?$/.test(backend.url) ? undefined : '2024-10-21');
}
