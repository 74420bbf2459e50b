import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';

export interface ScriptedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON; undefined where the body is empty. */
  readonly body: unknown;
  readonly socket: Socket;
}

/** A real HTTP server in the test's own process that answers just what one test needs. */
export interface ScriptedBackend extends AsyncDisposable {
  /** Up to and including `/v1`. */
  readonly url: string;
  readonly port: number;
  readonly requests: readonly ScriptedRequest[];
}

export async function scriptedBackend(
  answer: (request: ScriptedRequest, response: ServerResponse, nth: number) => void | Promise<void>,
): Promise<ScriptedBackend> {
  const requests: ScriptedRequest[] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const request: ScriptedRequest = {
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        headers: incoming.headers,
        body: text === '' ? undefined : JSON.parse(text),
        socket: incoming.socket,
      };
      requests.push(request);
      response.on('error', () => undefined);
      void answer(request, response, requests.length - 1);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    port,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** One event of a Chat Completions stream with this delta in its first choice. */
export function chunkEvent(delta: object, finish: string | null = null): string {
  const chunk = {
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'scripted',
    choices: [{ index: 0, delta, finish_reason: finish }],
  };
  return `data: ${JSON.stringify(chunk)}\n\n`;
}

/** The event with the usage, as servers send it before the end marker. */
export function usageEvent(usage: object): string {
  return `data: ${JSON.stringify({ object: 'chat.completion.chunk', choices: [], usage })}\n\n`;
}

export const doneEvent = 'data: [DONE]\n\n';

export function streamHead(response: ServerResponse, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', ...headers });
  response.flushHeaders();
}

/** A whole answer of one text. */
export function answerText(response: ServerResponse, text: string): void {
  streamHead(response);
  response.end(
    chunkEvent({ role: 'assistant', content: '' }) + chunkEvent({ content: text }) + chunkEvent({}, 'stop') + doneEvent,
  );
}
