import { type Balancer, startBalancer } from './balancer.js';
import { freePort } from './free-port.js';
import { plainConfiguration } from './plain-front.js';
import { proxyAddress, type RunningProxy, startProxy } from './proxy.js';
import type { Workspace } from './workspace.js';

/** Two processes of the proxy that share their keys and nothing else, behind a balancer. */
export interface Replicas {
  readonly balancer: Balancer;
  readonly proxies: readonly [RunningProxy, RunningProxy];
  /** alice may pull and push everything. */
  readonly password: string;
}

/** @param keys the `token.keys` of each; both start at the same time */
export async function startReplicas(
  workspace: Workspace,
  upstream: object,
  keys: readonly [object, object],
): Promise<Replicas> {
  const { configuration, password } = await plainConfiguration(workspace, upstream);
  const port = await freePort();
  const shared = { ...configuration, externalUrl: `http://127.0.0.1:${port}`, state: { type: 'memory' } };
  const start = async (name: string, own: object) => {
    const settings = { ...shared, token: { ttl: '60s', keys: own } };
    return startProxy(workspace, await proxyAddress(), settings, { name });
  };
  const proxies = await Promise.all([start('first.yaml', keys[0]), start('second.yaml', keys[1])]);
  const balancer = await startBalancer(workspace, () => proxies.map(({ host }) => host), port);
  return { balancer, proxies, password };
}
