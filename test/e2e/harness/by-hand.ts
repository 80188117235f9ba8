import { basic, send } from '../../harness/client.js';
import type { Ask } from '../../harness/pushing.js';
import type { ProxyAddress } from './proxy.js';

/** Requests as alice, without a client's own ideas of what to do next. */
export function byHand({ host }: Pick<ProxyAddress, 'host'>, password: string): Ask {
  const port = Number(host.split(':')[1]);
  return (path, options = {}) =>
    send(port, path, {
      host,
      ...options,
      headers: { authorization: basic('alice', password), ...options.headers },
    });
}

/** The value of a metric that has no labels. @throws an Error where there is none */
export async function metric({ adminHost }: Pick<ProxyAddress, 'adminHost'>, name: string): Promise<number> {
  const text = await (await fetch(`http://${adminHost}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`registry_proxy_${name} `));
  if (line === undefined) throw new Error(`there is no metric ${name}`);
  return Number(line.split(' ')[1]);
}
