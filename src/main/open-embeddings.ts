import { openOpenAiEmbeddings, type EmbeddingBackend } from '#backend';
import type { Config, Secrets } from '#config';

/** Every declared embedding model by its name. */
export interface OpenedEmbeddings extends AsyncDisposable {
  readonly models: ReadonlyMap<string, EmbeddingBackend>;
}

/** @throws UsherError `config_invalid` */
export async function openEmbeddings(config: Config, secrets: Secrets): Promise<OpenedEmbeddings> {
  await using opening = new AsyncDisposableStack();
  const models = new Map<string, EmbeddingBackend>();
  for (const declared of config.embeddings) {
    const backend = openOpenAiEmbeddings({ ...declared, apiKey: secrets.embeddingKeys.get(declared.name) });
    models.set(
      declared.name,
      opening.adopt(backend, (opened) => opened.close()),
    );
  }
  const opened = opening.move();
  return { models, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
