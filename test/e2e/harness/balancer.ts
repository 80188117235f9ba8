import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { startLoopbackServer } from '../../../src/testing/loopback-server.js';
import type { Workspace } from './workspace.js';

export interface Balancer {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
  /** How many requests went to each. */
  readonly requests: readonly number[];
}

/**
 * Gives each request to the next of some servers, over a connection of its own: nothing a client does reaches the
 * same one twice in a row. `Host` stays the client's.
 *
 * @param hosts asked at every request
 */
export async function startBalancer(
  workspace: Workspace,
  hosts: () => readonly string[],
  port: number,
): Promise<Balancer> {
  const requests: number[] = [];
  let next = 0;
  const server = await startLoopbackServer(
    (request, response) => {
      const all = hosts();
      const i = next++ % all.length;
      requests[i] = (requests[i] ?? 0) + 1;
      passOn(request, response, all[i] ?? '');
    },
    { port },
  );
  workspace.onClose(() => server.close());
  return { host: new URL(server.url).host, url: server.url, requests };
}

function passOn(request: IncomingMessage, response: ServerResponse, to: string): void {
  const [host, port] = to.split(':');
  const { method, url: path, rawHeaders } = request;
  const asked = httpRequest({ host, port, method, path, headers: endToEnd(rawHeaders), agent: false });
  asked.on('error', () => response.destroy());
  asked.once('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, endToEnd(answer.rawHeaders));
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  request.on('error', () => asked.destroy());
  response.once('close', () => asked.destroy());
  request.pipe(asked);
}

/** Fields of a connection are between two neighbours (RFC 9110 section 7.6.1). */
const ofConnection = ['connection', 'keep-alive'];

/** Name, value, name, value, … */
function endToEnd(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, i) => !ofConnection.includes(rawHeaders[i - (i % 2)]?.toLowerCase() ?? ''));
}
