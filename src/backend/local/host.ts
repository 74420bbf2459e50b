/**
 * The child process that runs a model, started by `local-backend.ts`: loads it, then answers Chat
 * Completions on 127.0.0.1 to whoever shows the token. It is apart so that the model's memory and
 * faults are not the server's. It ends with its parent: their channel closes however the parent dies.
 */
import type { AddressInfo } from 'node:net';
import type { HostReply, HostStart } from './host-protocol.ts';
import { loadModel, loadRuntime, type LocalModel } from './local-model.ts';
import { createModelServer } from './model-server.ts';

process.once('disconnect', () => process.exit(0));
process.once('message', (start: HostStart) => void serve(start));

async function serve(start: HostStart): Promise<void> {
  const model = await load(start);
  if (typeof model === 'string') {
    reply({ type: 'failed', reason: model });
    return;
  }
  const server = createModelServer(model, start.token);
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    reply({ type: 'ready', port, contextTokens: model.contextTokens });
  });
}

/** The model, or the reason why there is none; the library's own words stay here. */
async function load(start: HostStart): Promise<LocalModel | 'runtime' | 'model' | 'memory'> {
  const runtime = await loadRuntime(start.runtimeDir).catch(() => undefined);
  if (runtime === undefined) return 'runtime';
  return loadModel(runtime, start.modelPath, start.contextTokens).catch((error: unknown) => {
    return error instanceof Error && /memory|vram|context size/i.test(error.message) ? 'memory' : 'model';
  });
}

function reply(message: HostReply): void {
  process.send?.(message);
}
