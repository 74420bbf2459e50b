import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A service whose effects are counted: what its caller calls once may happen once. */
export interface ToolServer {
  readonly origin: string;
  /** How often each idempotency key came, by the path that it came to. */
  readonly hits: ReadonlyMap<string, number>;
  stop(): Promise<void>;
}

/** Answers `{"booked":true}` after `delayMs`, so that a node can be killed in the middle of it. */
export async function startToolServer(delayMs: number): Promise<ToolServer> {
  const hits = new Map<string, number>();
  const server: Server = createServer((request, response) => {
    const key = `${request.url ?? ''} ${String(request.headers['idempotency-key'])}`;
    hits.set(key, (hits.get(key) ?? 0) + 1);
    request.resume();
    setTimeout(() => response.setHeader('content-type', 'application/json').end('{"booked":true}'), delayMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    hits,
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
