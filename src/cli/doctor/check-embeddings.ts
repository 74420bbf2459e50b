import { BackendFailure, openOpenAiEmbeddings } from '#backend';
import type { Config, Secrets } from '#config';
import type { AddFinding, Finding } from './finding.ts';

const probeMs = 20_000;

/** Every embedding model is asked for the vector of one word, since lists of models seldom tell what a model does. */
export async function checkEmbeddings(config: Config, secrets: Secrets, add: AddFinding): Promise<void> {
  for (const finding of await Promise.all(config.embeddings.map((declared) => probe(declared, secrets)))) add(finding);
}

async function probe(declared: Config['embeddings'][number], secrets: Secrets): Promise<Finding> {
  const subject = declared.name;
  const backend = openOpenAiEmbeddings({ ...declared, apiKey: secrets.embeddingKeys.get(subject) });
  try {
    const { vectors } = await backend.embed(['usher'], {}, AbortSignal.timeout(probeMs));
    return { subject, state: 'ok', says: `${backend.description} gives vectors of ${vectors[0]!.length} numbers` };
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    return { subject, state: 'fail', says: error.message };
  } finally {
    await backend.close();
  }
}
