import { Client, StreamableHTTPClientTransport, type jsonSchemaValidator } from '@modelcontextprotocol/client';
import { asCall, mcpFetch, type McpFetchOptions } from './mcp-fetch.ts';

/** One session with a server, for one person. */
export interface McpSession {
  readonly client: Client;
  /** Never rejects. */
  close(): Promise<void>;
}

const connectMs = 5000;
const closeMs = 1000;
const pagesMax = 16;

const unchecked: jsonSchemaValidator = {
  getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }),
};

/** Shakes hands with the server, in the newest revision that both speak. */
export async function openMcpSession(options: McpFetchOptions): Promise<McpSession> {
  const client = new Client(
    { name: 'usher', version: '1' },
    {
      versionNegotiation: { mode: 'auto' },
      listMaxPages: pagesMax,
      // The default would compile the server's schemas to code; a result is text for the model in any case.
      jsonSchemaValidator: unchecked,
    },
  );
  const transport = new StreamableHTTPClientTransport(options.url, { fetch: mcpFetch(options) });
  // Not the caller's own signal: another call of the same person may wait for this session too.
  await asCall({ signal: AbortSignal.timeout(connectMs), idempotencyKey: undefined }, (within) =>
    client.connect(transport, { signal: within, timeout: connectMs }),
  );
  return {
    client,
    close: async () => {
      // The server's word on it is not waited for any longer than that, and breaks nothing where it breaks off.
      await asCall({ signal: AbortSignal.timeout(closeMs), idempotencyKey: undefined }, async () => {
        await transport.terminateSession().catch(() => undefined);
        await client.close();
      }).catch(() => undefined);
    },
  };
}
