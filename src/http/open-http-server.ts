import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { UsherError, type Clock } from '#base';
import type { Principal } from '#access';
import type { Telemetry } from '#telemetry';
import { checkPolicy, plainTarget } from './admit-request.ts';
import { createCallerOrigin, type ListenOptions } from './caller-origin.ts';
import { Connections } from './connections.ts';
import { createCors, type TenantOrigins } from './cors.ts';
import type { Route } from './exchange.ts';
import { OpenExchange, type ExchangeHost } from './open-exchange.ts';
import { checkDeclaredBody } from './read-json.ts';
import { refuseBytes } from './refuse-bytes.ts';
import { rescue } from './rescue.ts';
import { checkRoutes } from './route-rules.ts';
import { createRouter } from './router.ts';
import { securityHeaders } from './security-headers.ts';

export interface EdgeLimits {
  readonly bodyBytes: number;
  readonly headerBytes: number;
  readonly jsonDepth: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly headersTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  /** Bytes that may wait for a slow reader before its writer has to wait. */
  readonly sendBufferBytes: number;
  /** How long a reader with a full buffer may take to empty it; 30 s by default. */
  readonly readerTimeoutMs?: number;
}

export interface HttpServerOptions {
  readonly routes: readonly Route[];
  /** Who sent these headers. @throws UsherError `invalid_credentials` */
  readonly authenticate: (headers: IncomingHttpHeaders) => Principal | Promise<Principal>;
  readonly telemetry: Telemetry;
  readonly limits: EdgeLimits;
  readonly listen: ListenOptions;
  /** By tenant, the origins whose browsers may call. */
  /** Those of the moment; another map where they changed. */
  readonly cors: () => TenantOrigins;
  readonly clock: Clock;
}

export interface HttpServer {
  /** `http://127.0.0.1:8080`: the socket that listens, whatever stands before it. */
  readonly url: string;
  /** True from the first moment of `close`: for `/readyz`. */
  readonly draining: boolean;
  /** True once nothing new is accepted: `draining`, after its announcement. */
  readonly stopped: boolean;
  /**
   * Says no on `/readyz` for `announceMs` while it still serves, then stops accepting, lets what
   * runs finish for up to `drainMs`, and destroys the rest. Settles when the last socket is closed
   * and the last handler has returned.
   */
  close(options: { readonly drainMs: number; readonly announceMs?: number }): Promise<void>;
}

/** Longer than the usual idle time-out of load balancers (60 s), so that it is they who close. */
const keepAliveTimeoutMs = 65_000;

/** After the sockets are closed: to record what was made until then. */
const handlersMs = 5000;

/**
 * Serves the routes on one port.
 * @throws UsherError `config_invalid` for a route table that breaks its rules, or a port that cannot be had
 */
export async function openHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  checkRoutes(options.routes);
  const edge = new Edge(options);
  const address = await edge.listen();
  return {
    url: `http://${hostOf(address)}:${address.port}`,
    get draining() {
      return edge.draining;
    },
    get stopped() {
      return edge.stopped;
    },
    close: ({ drainMs, announceMs = 0 }) => edge.close(drainMs, announceMs),
  };
}

/** A wildcard listens everywhere, but is no address that one could call. */
function hostOf({ address, family }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return 'localhost';
  return family === 'IPv6' ? `[${address}]` : address;
}

/** While the server closes: a request that is on its way has once to twice as long to arrive. */
const idleSweepMs = 500;

class Edge {
  draining = false;
  stopped = false;
  /** Handlers under way, and who waits for the last of them. */
  #handling = 0;
  #idle: (() => void) | undefined;
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #connections: Connections;
  readonly #router: ReturnType<typeof createRouter>;
  readonly #caller: ReturnType<typeof createCallerOrigin>;
  readonly #cors: ReturnType<typeof createCors>;
  readonly #host: ExchangeHost;

  constructor(options: HttpServerOptions) {
    const { limits, telemetry } = options;
    this.#options = options;
    this.#router = createRouter(options.routes);
    this.#caller = createCallerOrigin(options.listen);
    this.#cors = createCors(options.cors);
    this.#connections = new Connections({
      perAddressMax: limits.connectionsPerAddress,
      isOfMany: (socket) => this.#caller.isOfMany(socket),
    });
    this.#host = {
      limits: { readerTimeoutMs: 30_000, ...limits },
      isDraining: () => this.draining,
      addressOf: (request) => this.#caller.addressOf(request),
      readerDropped: () => telemetry.connectionRefused({ reason: 'slow' }),
    };
    this.#server = createServer({
      insecureHTTPParser: false,
      requireHostHeader: false,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.headersTimeoutMs + limits.bodyTimeoutMs,
      connectionsCheckingInterval: Math.max(50, Math.min(1000, limits.headersTimeoutMs / 4)),
      keepAliveTimeout: keepAliveTimeoutMs,
    });
    this.#server.maxConnections = limits.connections;
    // The size cap bounds their number; a count would drop the rest without a word, a second Host among them.
    this.#server.maxHeadersCount = 0;
    this.#attend();
  }

  async listen(): Promise<AddressInfo> {
    const { host, port } = this.#options.listen;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error) => reject(cannotListen(host, port, error)));
      this.#server.listen(port, host, resolve);
    });
    this.#server.removeAllListeners('error');
    this.#server.on('error', (error) => this.#options.telemetry.unexpected({ where: 'http.listen', error }));
    return this.#server.address() as AddressInfo;
  }

  async close(drainMs: number, announceMs: number): Promise<void> {
    this.draining = true;
    if (announceMs > 0) await delay(announceMs);
    this.stopped = true;
    const closed = new Promise<void>((resolve) => void this.#server.close(() => resolve()));
    const deadline = setTimeout(() => this.#connections.destroyAll(), drainMs);
    const sweep = setInterval(() => this.#connections.destroyIdle(), idleSweepMs);
    await closed;
    clearTimeout(deadline);
    clearInterval(sweep);
    await this.#handlersDone();
  }

  /** A handler whose client was cut off still records what it made; what it works with must outlive it. */
  async #handlersDone(): Promise<void> {
    if (this.#handling === 0) return;
    const overdue = new AbortController();
    const done = new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    await Promise.race([done, delay(handlersMs, undefined, { signal: overdue.signal }).catch(() => undefined)]);
    overdue.abort();
  }

  #attend(): void {
    const { telemetry } = this.#options;
    this.#server
      .on('connection', (socket: Socket) => {
        if (!this.#connections.add(socket)) telemetry.connectionRefused({ reason: 'too_many' });
      })
      .on('request', (request, response) => this.#accept(request, response, false))
      .on('checkContinue', (request, response) => this.#accept(request, response, true))
      .on('checkExpectation', (request, response) => this.#accept(request, response, false))
      .on('connect', (_request, socket: Socket) => refuseBytes(socket, 405, 'CONNECT is not served here.'))
      .on('drop', () => telemetry.connectionRefused({ reason: 'too_many' }))
      .on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => this.#refuse(error, socket));
  }

  #accept(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void {
    const { clock, telemetry } = this.#options;
    const startedMs = clock.monotonicMs();
    const exchange = new OpenExchange(request, response, this.#host, expectsContinue);
    // A write that comes after the client has left is no news; without a listener it would end the process.
    response.on('error', () => undefined);
    const start = (): void => {
      this.#handling += 1;
      this.#serve(exchange, request)
        .catch((error: unknown) => {
          telemetry.unexpected({ where: 'http.serve', error, requestId: exchange.requestId });
          exchange.destroy();
        })
        .finally(() => {
          this.#handling -= 1;
          if (this.#handling === 0) this.#idle?.();
        });
    };
    const turn = this.#connections.enqueue(request.socket, exchange, start);
    if (turn === 'refused') {
      telemetry.connectionRefused({ reason: 'bad_request' });
      request.socket.destroy();
      return;
    }
    response.once('close', () => {
      if (!response.writableFinished) exchange.abandon();
      this.#connections.finish(request.socket, exchange, this.draining);
      telemetry.requestFinished({
        requestId: exchange.requestId,
        method: exchange.method,
        route: exchange.route,
        status: exchange.status,
        durationMs: clock.monotonicMs() - startedMs,
        bytesOut: exchange.bytesOut,
        code: exchange.code,
      });
    });
  }

  /** The way of one request: plain, routed, of bounded size, authenticated, admitted, handled. */
  async #serve(exchange: OpenExchange, request: IncomingMessage): Promise<void> {
    try {
      this.#locate(exchange, request);
      const route = this.#route(exchange);
      if (!route) return;
      checkDeclaredBody(request, this.#options.limits);
      if (this.#needsPrincipal(route, request)) {
        exchange.caller = await this.#options.authenticate(request.headers);
        checkPolicy(route.policy, exchange.caller);
      }
      this.#checkOrigin(exchange);
      await route.handle(exchange);
      this.#checkAnswered(exchange);
    } catch (error) {
      this.#rescue(exchange, error);
    }
  }

  #locate(exchange: OpenExchange, request: IncomingMessage): void {
    exchange.aim(plainTarget(request));
    exchange.origin = this.#caller.originOf(request);
    const common = securityHeaders(exchange.origin.startsWith('https:'));
    const { origin } = request.headers;
    exchange.commonHeaders = origin === undefined ? common : [...common, ...this.#cors.readable(origin)];
  }

  /** The route, or undefined where the router itself has answered. @throws UsherError */
  #route(exchange: OpenExchange): Route | undefined {
    const match = this.#router.match(exchange.method, exchange.path);
    if (match.found === 'nothing') {
      const where = exchange.path.startsWith('/v1/') ? 'Usher does not serve it.' : 'The API begins at /v1.';
      throw new UsherError('not_found', `There is nothing at this path. ${where}`);
    }
    if (match.found === 'path') {
      exchange.commonHeaders = [...exchange.commonHeaders, 'allow', match.allow.join(', ')];
      if (exchange.method !== 'OPTIONS') {
        throw new UsherError('method_not_allowed', `Use one of ${match.allow.join(', ')} here.`);
      }
      this.#preflight(exchange);
      return undefined;
    }
    exchange.route = match.route.path;
    exchange.params = match.params;
    if (this.stopped && match.route.policy.access !== 'public') {
      throw new UsherError('shutting_down', 'This node is stopping; ask again.', { retryAfterMs: 1000 });
    }
    return match.route;
  }

  #preflight(exchange: OpenExchange): void {
    const headers = this.#cors.preflight(exchange.headers.origin ?? '');
    for (let at = 0; at < headers.length; at += 2) exchange.setHeader(headers[at] ?? '', headers[at + 1] ?? '');
    exchange.sendNothing();
  }

  #needsPrincipal({ policy }: Route, request: IncomingMessage): boolean {
    if (policy.access === 'operator') return !this.#caller.isLocal(request);
    return policy.access === 'principal';
  }

  /** A page of another tenant's is told nothing, not even why. */
  #checkOrigin(exchange: OpenExchange): void {
    const { origin } = exchange.headers;
    if (origin === undefined) return;
    try {
      const changes = exchange.method !== 'GET' && exchange.method !== 'HEAD';
      this.#cors.check({ origin, ownOrigin: exchange.origin, principal: exchange.caller, changes });
    } catch (error) {
      exchange.commonHeaders = securityHeaders(exchange.origin.startsWith('https:'));
      throw error;
    }
  }

  #checkAnswered(exchange: OpenExchange): void {
    if (exchange.isGone || exchange.stream?.isOver || (exchange.isAnswered && !exchange.stream)) return;
    throw new UsherError('internal', 'The handler finished without an answer.');
  }

  #rescue(exchange: OpenExchange, error: unknown): void {
    const code = error instanceof UsherError ? error.code : 'internal';
    if (code === 'internal') {
      const where = `${exchange.method} ${exchange.route}`;
      this.#options.telemetry.unexpected({ where, error, requestId: exchange.requestId });
    }
    exchange.code = code;
    if (exchange.isGone) return;
    if (exchange.isAnswered) exchange.destroy();
    else exchange.refuse(rescue(error, exchange.requestId));
  }

  /** Bytes that are no HTTP, headers too large, or a request that does not come to its end. */
  #refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    const refusal = refusals[error.code ?? ''] ?? {
      status: 400,
      reason: 'bad_request',
      say: 'This is not valid HTTP/1.1.',
    };
    if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') {
      this.#options.telemetry.connectionRefused({ reason: refusal.reason });
    }
    const current = this.#connections.current(socket);
    const isItsFault = current === undefined || (current.isArriving && !current.isAnswered);
    if (!isItsFault || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    current?.abandon();
    refuseBytes(socket, refusal.status, refusal.say);
  }
}

const refusals: Record<
  string,
  { readonly status: number; readonly reason: 'slow' | 'headers_too_large'; readonly say: string } | undefined
> = {
  HPE_HEADER_OVERFLOW: { status: 431, reason: 'headers_too_large', say: 'The headers are too large; send fewer.' },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, reason: 'slow', say: 'The request did not arrive in time.' },
};

function cannotListen(host: string, port: number, error: NodeJS.ErrnoException): UsherError {
  const mend =
    error.code === 'EADDRINUSE'
      ? 'another process has it; choose another port, or 0 for any free one'
      : error.code === 'EACCES'
        ? 'this user may not have it; choose a port from 1024 up'
        : `the system says ${error.code ?? 'no more'}; check listen.host`;
  return new UsherError('config_invalid', `Cannot listen on ${host} port ${port}: ${mend}.`, { cause: error });
}
