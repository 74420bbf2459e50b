import type { Socket } from 'node:net';
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

/** Pipelined requests that may wait behind the one that runs; no client of ours sends any. */
const waitingMax = 16;

/**
 * The open sockets and what runs on each. Requests of one connection run one after the other, so
 * that pipelining buys nobody more than one place at the table.
 */
export class Connections {
  readonly #bySocket = new Map<Socket, Connection>();

  add(socket: Socket): void {
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

  destroyAll(): void {
    for (const socket of this.#bySocket.keys()) resetConnection(socket);
  }
}
