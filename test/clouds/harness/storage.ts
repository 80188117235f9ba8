import { request as httpRequest } from 'node:http';
import { pipeline } from 'node:stream';
import { type DockerRegistry, startDockerRegistry } from '../../e2e/harness/docker-registry.js';
import type { Workspace } from '../../e2e/harness/workspace.js';
import type { Exchange } from './world.js';

export interface Forwarding {
  /** What is asked of the storage, with its query; what the client asked where it is missing. */
  readonly path?: string;
  /** An upload's `Location` as this cloud's front tells it; absolute on the host that was asked where it is missing. */
  readonly location?: (stored: URL) => string;
  /** More headers of the answer; an empty one takes the storage's away. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A real docker-registry without credentials, which only the fronts of the clouds speak to. */
export interface Storage {
  /** `127.0.0.1:PORT`, for tests that look into it or fill it. */
  readonly host: string;
  /** Answers an exchange with what the registry answers; bodies stream both ways. */
  forward(exchange: Exchange, options?: Forwarding): Promise<void>;
}

export async function startStorage(workspace: Workspace): Promise<Storage> {
  const registry = await startDockerRegistry(workspace);
  return { host: registry.host, forward: (exchange, options = {}) => forward(registry, exchange, options) };
}

/** Neither our credential nor the front's name is the storage's business. */
const notForwarded = ['authorization', 'host', 'connection', 'expect'];

function forward(
  registry: DockerRegistry,
  { request, response, url, record }: Exchange,
  { path = record.path, location, headers = {} }: Forwarding,
): Promise<void> {
  const sent = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !notForwarded.includes(name)),
  );
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${registry.url}${path}`, { method: record.method, headers: sent });
    outgoing.once('error', reject);
    outgoing.once('response', (answer) => {
      const { connection: _, 'keep-alive': _keep, ...received } = answer.headers;
      if (received.location !== undefined) {
        const stored = new URL(received.location, registry.url);
        const own = `https://${url.host}${stored.pathname}${stored.search}`;
        received.location = location?.(stored) ?? own;
      }
      const all = Object.entries({ ...received, ...headers }).filter(([, value]) => value !== '');
      response.writeHead(answer.statusCode ?? 500, Object.fromEntries(all));
      pipeline(answer, response, () => resolve());
    });
    pipeline(request, outgoing, (error) => {
      if (error) outgoing.destroy();
    });
  });
}
