import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A service whose effects are counted: what its caller calls once may happen once. */
export interface ToolServer {
  readonly origin: string;
  /** How often each idempotency key came, by the path that it came to. */
  readonly hits: ReadonlyMap<string, number>;
  /** The idempotency keys that came with each body, by path and body: one for every time that it was asked for. */
  readonly effects: ReadonlyMap<string, readonly string[]>;
  /** The `Authorization` of each call that had one, in order. */
  readonly authorisations: readonly string[];
  stop(): Promise<void>;
}

/**
 * Answers `{"booked":true}` after `delayMs`, so that a node can be killed in the middle of it; to a
 * path that ends with `/long`, a report of 40,000 characters.
 */
export async function startToolServer(delayMs: number): Promise<ToolServer> {
  const hits = new Map<string, number>();
  const effects = new Map<string, readonly string[]>();
  const authorisations: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    const idempotencyKey = String(request.headers['idempotency-key']);
    const key = `${path} ${idempotencyKey}`;
    hits.set(key, (hits.get(key) ?? 0) + 1);
    const { authorization } = request.headers;
    if (authorization !== undefined) authorisations.push(authorization);
    let body = '';
    request.setEncoding('utf8').on('data', (piece: string) => (body += piece));
    request.on('end', () => {
      const effect = `${path} ${body}`;
      effects.set(effect, [...(effects.get(effect) ?? []), idempotencyKey]);
    });
    const reply = path.endsWith('/long') ? JSON.stringify('All is well. '.repeat(3077)) : '{"booked":true}';
    setTimeout(() => response.setHeader('content-type', 'application/json').end(reply), delayMs);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    hits,
    effects,
    authorisations,
    async stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
