import { randomBytes } from 'node:crypto';
import { type MemoryRegistry, startMemoryRegistry } from '../../../src/testing/index.js';
import { writeHtpasswd } from './docker-registry.js';
import { proxyAddress, type RunningProxy, startProxy } from './proxy.js';
import type { Workspace } from './workspace.js';

/** The proxy, a program of its own, in front of a registry that can be told what is to go wrong. */
export interface FaultyFront {
  readonly proxy: RunningProxy;
  readonly registry: MemoryRegistry;
  /** alice may pull everything. */
  readonly password: string;
}

/** Milliseconds the proxy waits for a byte from the registry are beyond what a test makes it wait. */
export async function startFaultyFront(workspace: Workspace, token: object = {}): Promise<FaultyFront> {
  const registry = await startMemoryRegistry();
  workspace.onClose(() => registry.close());
  const password = randomBytes(9).toString('hex');
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', { alice: password });
  const proxy = await startProxy(workspace, await proxyAddress(), {
    upstreams: { memory: { url: registry.url, timeouts: { headers: '150s', idle: '150s' } } },
    routes: [{ prefix: '', upstream: 'memory' }],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [{ names: ['local:*'], repositories: ['**'], actions: ['pull'] }],
    token: { ttl: '60s', keys: { directory: 'keys' }, ...token },
    drainTimeout: '20s',
  });
  return { proxy, registry, password };
}

/** The proxy's log lines of an event, such as `access` or `token`. */
export function logLines(proxy: RunningProxy, event: string): readonly Record<string, unknown>[] {
  return proxy
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line.event === event);
}
