import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { RegistryError } from '../errors.js';
import { errorResponse } from './error-response.js';
import { inertHeaders } from './inert-headers.js';
import type { RefusalReason } from './listener-metrics.js';

/** What came over a connection and is no request. */
export interface Unparsed {
  readonly status: 400 | 408 | 431;
  /** Absent: the client ended it, and nothing is to be counted. */
  readonly reason?: RefusalReason;
}

/** @returns undefined where nobody is left to be answered */
export function unparsed({ code }: NodeJS.ErrnoException): Unparsed | undefined {
  switch (code) {
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ETIMEDOUT':
      return undefined;
    case 'HPE_INVALID_EOF_STATE':
      return { status: 400 };
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, reason: 'headers-large' };
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, reason: 'headers-slow' };
    default:
      return { status: 400, reason: 'malformed' };
  }
}

/** What Node's parser refuses still gets an answer a registry client can read. */
export function refuseUnparsed(status: number, socket: Socket): void {
  const { headers, body } = refusal(status);
  const lines = [...headers, ...Object.entries(inertHeaders)].map(([name, value]) => `${name}: ${value}`);
  const head = [`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines, '', ''].join('\r\n');
  socket.end(Buffer.concat([Buffer.from(head), body]), () => socket.destroy());
}

/** Answers a request that no handler gets to see, and closes its connection. */
export function refuseRequest(response: ServerResponse, status: number): void {
  const { headers, body } = refusal(status);
  response.writeHead(status, Object.fromEntries(headers)).end(body);
}

const messages: Readonly<Record<number, string>> = {
  408: 'the headers of the request took too long',
  431: 'the headers of the request are too large or too many',
};

function refusal(status: number): { headers: ReadonlyMap<string, string>; body: Buffer } {
  const message = messages[status] ?? 'the request cannot be understood';
  const error = new RegistryError('UNSUPPORTED', { status, message });
  const { headers, body } = errorResponse(error, undefined);
  return { headers: new Map([...headers, ['connection', 'close']]), body };
}
