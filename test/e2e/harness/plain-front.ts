import { randomBytes } from 'node:crypto';
import { writeHtpasswd } from './docker-registry.js';
import { proxyAddress, type RunningProxy, startProxy } from './proxy.js';
import type { Workspace } from './workspace.js';

/** The proxy in front of one registry, under the names it has there. */
export interface PlainFront {
  readonly proxy: RunningProxy;
  /** alice may pull and push everything. */
  readonly password: string;
}

/** @param settings more of the proxy's configuration */
export async function startPlainFront(
  workspace: Workspace,
  upstream: object,
  settings: object = {},
): Promise<PlainFront> {
  const { configuration, password } = await plainConfiguration(workspace, upstream);
  const proxy = await startProxy(workspace, await proxyAddress(), { ...configuration, ...settings });
  return { proxy, password };
}

/** The configuration without what `startProxy` fills in. */
export async function plainConfiguration(
  workspace: Workspace,
  upstream: object,
): Promise<{ readonly configuration: object; readonly password: string }> {
  const password = randomBytes(9).toString('hex');
  await writeHtpasswd(workspace, 'proxy/users.htpasswd', { alice: password });
  // Longer than any test makes the proxy wait for a byte from the registry.
  const timeouts = { headers: '150s', idle: '150s', commit: '150s' };
  const configuration = {
    upstreams: { one: { timeouts, ...upstream } },
    routes: [{ prefix: '', upstream: 'one' }],
    verifiers: [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }],
    policy: [{ names: ['local:*'], repositories: ['**'], actions: ['pull', 'push'] }],
    token: { ttl: '60s', keys: { directory: 'keys' } },
    drainTimeout: '20s',
  };
  return { configuration, password };
}
