import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BackendFailure, detectLocalServers, isRuntimeInstalled, openOpenAiBackend } from '#backend';
import { settleModels, type BackendConfig, type Config, type Secrets } from '#config';
import type { AddFinding, Finding } from './finding.ts';

const probeMs = 10_000;

/** Every backend is asked whether it serves, the way that turns will ask it. */
export async function checkBackends(undecided: Config, secrets: Secrets, add: AddFinding): Promise<void> {
  const looking = undecided.models.from === 'undecided';
  const config = looking
    ? settleModels(undecided, await detectLocalServers({ signal: AbortSignal.timeout(1500) }))
    : undecided;
  if (config.models.from === 'knowledge') {
    const mend = 'set OPENAI_API_KEY, start Ollama, or run: npx usher model';
    add({ subject: 'model', state: 'warn', says: `${config.models.why}; for one, ${mend}` });
    return;
  }
  for (const finding of await Promise.all(config.backends.map((backend) => probe(backend, secrets, config.dataDir))))
    add(finding);
}

async function probe(config: BackendConfig, secrets: Secrets, dataDir: string): Promise<Finding> {
  const subject = config.name;
  if (config.kind === 'knowledge') return { subject, state: 'ok', says: 'quotes knowledge; needs nothing' };
  if (config.kind === 'local') return probeLocal(config, dataDir);
  const backend = openOpenAiBackend({
    name: config.name,
    kind: config.kind,
    url: config.url ?? '',
    model: config.model,
    deployment: config.deployment,
    apiVersion: config.apiVersion,
    apiKey: secrets.backendKeys.get(config.name),
  });
  try {
    const { models } = await backend.probe(AbortSignal.timeout(probeMs));
    const wanted = config.model;
    if (wanted !== undefined && models.length > 0 && !models.includes(wanted)) {
      const some = models.slice(0, 5).join(', ');
      return {
        subject,
        state: 'warn',
        says: `${backend.description} answers, but does not list ${wanted}; it lists ${some}`,
      };
    }
    return { subject, state: 'ok', says: `${backend.description} answers` };
  } catch (error) {
    if (!(error instanceof BackendFailure)) throw error;
    return { subject, state: 'fail', says: error.message };
  } finally {
    await backend.close();
  }
}

async function probeLocal(config: BackendConfig, dataDir: string): Promise<Finding> {
  const subject = config.name;
  const path = config.modelPath ?? '';
  if (!existsSync(path)) {
    return { subject, state: 'fail', says: `${path} does not exist; download a model with: usher model` };
  }
  if (!(await isRuntimeInstalled(join(dataDir, 'local-runtime')))) {
    return {
      subject,
      state: 'fail',
      says: 'the runtime is not installed; install it with: usher model --runtime-only',
    };
  }
  return { subject, state: 'ok', says: path };
}
