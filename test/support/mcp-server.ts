import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { createMcpHandler, McpServer, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server';

export interface McpTestServer extends AsyncDisposable {
  readonly url: string;
  readonly origin: string;
  /** Headers and JSON-RPC method of every request, in their order. */
  readonly requests: readonly { readonly headers: IncomingHttpHeaders; readonly method: string | undefined }[];
  /** Requests whose connection was cut before their answer. */
  readonly cut: () => number;
  /** Cuts every connection, as a crash does. */
  cutAll(): void;
  /** Forgets every session, as a restart does. */
  forget(): void;
}

type Fetch = (request: Request) => Promise<Response>;

/**
 * A real server of the Model Context Protocol, made with the official package. `sessions`: with
 * sessions, as servers of 2025 keep them; else stateless, in the newest revision.
 */
export async function mcpTestServer(
  register: (server: McpServer) => void,
  options: { readonly sessions: boolean; readonly gate?: (headers: IncomingHttpHeaders) => number | undefined },
): Promise<McpTestServer> {
  const made = (): McpServer => {
    const server = new McpServer({ name: 'test', version: '1' });
    register(server);
    return server;
  };
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  const serve: Fetch = options.sessions ? withSessions(made, sessions) : createMcpHandler(made).fetch;
  const requests: { headers: IncomingHttpHeaders; method: string | undefined }[] = [];
  let cut = 0;
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    response.on('close', () => {
      if (!response.writableFinished) cut += 1;
    });
    const body = await buffer(incoming);
    requests.push({ headers: incoming.headers, method: methodOf(body) });
    const refused = options.gate?.(incoming.headers);
    if (refused !== undefined) response.writeHead(refused).end();
    else await pass(await serve(requestOf(incoming, body)), response);
  };
  // One whose connection was cut has nobody left to tell.
  const server = createServer((incoming, response) => void answer(incoming, response).catch(() => response.destroy()));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `${origin}/mcp`,
    origin,
    requests,
    cut: () => cut,
    cutAll: () => server.closeAllConnections(),
    forget: () => sessions.clear(),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function withSessions(made: () => McpServer, sessions: Map<string, WebStandardStreamableHTTPServerTransport>): Fetch {
  return async (request) => {
    const id = request.headers.get('mcp-session-id');
    const known = id === null ? undefined : sessions.get(id);
    if (known !== undefined) return known.handleRequest(request);
    if (id !== null) return new Response('no such session', { status: 404 });
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (session) => void sessions.set(session, transport),
    });
    await made().connect(transport);
    return transport.handleRequest(request);
  };
}

function methodOf(body: Buffer): string | undefined {
  if (body.length === 0) return undefined;
  return (JSON.parse(body.toString()) as { method?: string }).method;
}

function requestOf(incoming: IncomingMessage, body: Buffer): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) headers.set(name, String(value));
  return new Request(`http://${incoming.headers.host}${incoming.url}`, {
    method: incoming.method ?? 'GET',
    headers,
    ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
  });
}

async function pass(answer: Response, response: ServerResponse): Promise<void> {
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.flushHeaders();
  if (answer.body !== null) {
    for await (const chunk of answer.body) response.write(chunk);
  }
  response.end();
}
