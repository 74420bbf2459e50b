import type { Socket } from 'node:net';

/**
 * Ends a connection in a way that no client takes for the end of an answer. A socket that ends
 * already cannot be reset: Node 24 then keeps its handle, and a process with one never exits.
 */
export function resetConnection(socket: Socket): void {
  if (socket.writable) socket.resetAndDestroy();
  else socket.destroy();
}
