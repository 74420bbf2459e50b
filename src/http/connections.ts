import type { Socket } from 'node:net';
import { networkOf } from './caller-network.ts';
import type { OpenExchange } from './open-exchange.ts';
import { resetConnection } from './reset-connection.ts';

interface Job {
  readonly exchange: OpenExchange;
  readonly start: () => void;
}

interface Connection {
  current: Job | undefined;
  readonly waiting: Job[];
}

export interface ConnectionsOptions {
  readonly perAddressMax: number;
  /** Whether many callers stand behind the address, so that it is not counted. */
  readonly isOfMany: (socket: Socket) => boolean;
}

/** Pipelined requests that may wait behind the one that runs; no client of ours sends any. */
const waitingMax = 16;

/**
 * The open sockets and what runs on each. Requests of one connection run one after the other, so
 * that pipelining buys nobody more than one place at the table.
 */
export class Connections {
  readonly #bySocket = new Map<Socket, Connection>();
  /** How many each address holds. */
  readonly #byAddress = new Map<string, number>();
  readonly #options: ConnectionsOptions;
  /** At the last call of `destroyIdle`. */
  #idle: ReadonlySet<Socket> = new Set();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#bySocket.size;
  }

  /** False where its address holds too many: it is reset. */
  add(socket: Socket): boolean {
    if (!this.#count(socket)) {
      resetConnection(socket);
      return false;
    }
    const connection: Connection = { current: undefined, waiting: [] };
    this.#bySocket.set(socket, connection);
    const leave = (): void => {
      connection.waiting.length = 0;
      connection.current?.exchange.abandon();
    };
    // A half-closed socket counts as left: Node closes it too, and waiting longer would keep the model running.
    socket.once('end', leave);
    socket.once('close', () => {
      leave();
      this.#bySocket.delete(socket);
    });
    return true;
  }

  #count(socket: Socket): boolean {
    if (this.#options.isOfMany(socket)) return true;
    const address = networkOf(socket.remoteAddress ?? '');
    const held = this.#byAddress.get(address) ?? 0;
    if (held >= this.#options.perAddressMax) return false;
    this.#byAddress.set(address, held + 1);
    socket.once('close', () => {
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    });
    return true;
  }

  enqueue(socket: Socket, exchange: OpenExchange, start: () => void): 'started' | 'waits' | 'refused' {
    const connection = this.#bySocket.get(socket);
    if (!connection || connection.waiting.length >= waitingMax) return 'refused';
    if (connection.current) {
      connection.waiting.push({ exchange, start });
      return 'waits';
    }
    connection.current = { exchange, start };
    start();
    return 'started';
  }

  /** The next in line, if any. */
  finish(socket: Socket, exchange: OpenExchange, isDraining: boolean): void {
    const connection = this.#bySocket.get(socket);
    if (connection?.current?.exchange !== exchange) return;
    connection.current = connection.waiting.shift();
    if (connection.current) connection.current.start();
    else if (isDraining) socket.end();
  }

  /** What runs on the socket now. */
  current(socket: Socket): OpenExchange | undefined {
    return this.#bySocket.get(socket)?.current?.exchange;
  }

  /**
   * Destroys those on which nothing was asked since the last call: a browser connects ahead of a request
   * that may never come, and a server that closes would wait for it.
   */
  destroyIdle(): void {
    const idle = new Set<Socket>();
    for (const [socket, { current }] of this.#bySocket) {
      if (current !== undefined) continue;
      if (this.#idle.has(socket)) socket.destroy();
      else idle.add(socket);
    }
    this.#idle = idle;
  }

  destroyAll(): void {
    for (const socket of this.#bySocket.keys()) resetConnection(socket);
  }
}
