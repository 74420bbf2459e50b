import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { newId } from '#base';
import type { ErrorBody } from './rescue.ts';

/** How long the client may take to read why, before the socket is destroyed. */
const partingMs = 500;

/** An OpenAI error object on a socket for which there is no request to answer, then the end of it. */
export function refuseBytes(socket: Socket, status: number, message: string): void {
  const body: ErrorBody = {
    error: { message, type: 'invalid_request_error', param: null, code: codes[status] ?? 'invalid_request' },
  };
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nx-content-type-options: nosniff\r\n` +
      `x-request-id: ${newId('request')}\r\n\r\n${text}`,
  );
  const parting = setTimeout(() => socket.destroy(), partingMs);
  socket.once('close', () => clearTimeout(parting));
}

const codes: Readonly<Record<number, string>> = {
  405: 'method_not_allowed',
  408: 'request_timeout',
  431: 'too_large',
};
