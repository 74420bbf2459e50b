import { connect, type Socket } from 'node:net';
import { systemClock, UsherError, type Id } from '#base';
import type { Principal, Scope, SubjectId, TenantId } from '#access';
import { openHttpServer, type HttpServer, type HttpServerOptions, type Route } from '#http';
import { openTelemetry, type Telemetry } from '#telemetry';

/** The edge on a free port of the loopback, with real telemetry whose log lines are kept. */
export interface EdgeFixture extends HttpServer {
  readonly host: string;
  readonly log: Record<string, unknown>[];
  readonly telemetry: Telemetry;
}

export type EdgeOverrides = Partial<Omit<HttpServerOptions, 'limits' | 'listen' | 'telemetry'>> & {
  readonly limits?: Partial<HttpServerOptions['limits']>;
  readonly listen?: Partial<HttpServerOptions['listen']>;
};

export const testLimits: HttpServerOptions['limits'] = {
  bodyBytes: 100_000,
  headerBytes: 16_384,
  jsonDepth: 32,
  connections: 200,
  connectionsPerAddress: 200,
  headersTimeoutMs: 10_000,
  bodyTimeoutMs: 10_000,
  sendBufferBytes: 131_072,
};

const noOrigins: ReturnType<HttpServerOptions['cors']> = new Map();

const opened: { close(): Promise<void> }[] = [];

export async function openEdge(routes: readonly Route[], overrides: EdgeOverrides = {}): Promise<EdgeFixture> {
  const log: Record<string, unknown>[] = [];
  const telemetry = await openTelemetry({
    logLevel: 'debug',
    logTo: { write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>) },
    otel: false,
    serviceName: 'usher',
    version: 'test',
  });
  const server = await openHttpServer({
    routes,
    authenticate: principalOf,
    cors: () => noOrigins,
    clock: systemClock,
    ...overrides,
    telemetry,
    limits: { ...testLimits, ...overrides.limits },
    listen: { host: '127.0.0.1', port: 0, publicUrl: undefined, trustedProxies: [], ...overrides.listen },
  });
  opened.push({
    close: async () => {
      await server.close({ drainMs: 0 });
      await telemetry.close();
    },
  });
  return Object.assign(Object.create(server) as HttpServer, { host: new URL(server.url).host, log, telemetry });
}

/** For `afterEach`. */
export async function closeEdges(): Promise<void> {
  await Promise.all(opened.splice(0).map((edge) => edge.close()));
}

/**
 * The fixture's own credentials: `key:<tenant>:<scopes>` or `user:<tenant>:<subject>` as bearer
 * tokens, so that a test reads who calls.
 */
export function principalOf(headers: { readonly authorization?: string | undefined }): Principal {
  const [, kind, tenant, rest = ''] = /^Bearer (key|user):(\w+):([\w,]*)$/.exec(headers.authorization ?? '') ?? [];
  if (kind === undefined) throw new UsherError('invalid_credentials', 'Send an API key as a bearer token.');
  if (kind === 'key') {
    const keyId = 'key_test' as Id<'key'>;
    return { kind, tenant: tenant as TenantId, keyId, scopes: new Set(rest.split(',') as Scope[]) };
  }
  const subject = rest as SubjectId;
  return { kind: 'user', tenant: tenant as TenantId, subject, assistant: 'guide', expiresAtMs: Infinity };
}

export const asKey = { authorization: 'Bearer key:acme:talk' };

/** A socket on which a test says and hears bytes. */
export interface RawClient {
  readonly socket: Socket;
  /** All that was heard so far, as latin1. */
  readonly heard: string;
  send(bytes: string | Uint8Array): void;
  /** Waits until `pattern` was heard. @throws Error after 10 s, or when the socket closed before */
  hears(pattern: RegExp): Promise<string>;
  /** Waits for the end of the socket, however it comes, and returns all that was heard. */
  closed(): Promise<string>;
}

export function openRaw(url: string): RawClient {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: false });
  let heard = '';
  let isClosed = false;
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    heard += text;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  const until = async (isMet: () => boolean, what: string): Promise<string> => {
    for (let waited = 0; !isMet(); waited += 5) {
      if (waited > 10_000) throw new Error(`waited in vain for ${what}; heard: ${heard.slice(-500)}`);
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
    return heard;
  };
  return {
    socket,
    get heard() {
      return heard;
    },
    send: (bytes) => void socket.write(bytes),
    hears: async (pattern) => {
      await until(() => pattern.test(heard) || isClosed, String(pattern));
      if (!pattern.test(heard)) throw new Error(`closed before ${String(pattern)}; heard: ${heard.slice(-500)}`);
      return heard;
    },
    closed: () => until(() => isClosed, 'the end of the socket'),
  };
}

/** The status codes in what was heard, in order. */
export function statusesIn(heard: string): number[] {
  return [...heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
}
