import { type Ask, basic, send } from '../../harness/index.js';
import type { RunningProxy } from './proxy.js';

/** Sends plain requests to the proxy with a user name and password (Basic), as `curl -u` does. */
export function asker({ host }: Pick<RunningProxy, 'host'>, user: string, password: string): Ask {
  const port = Number(host.split(':')[1]);
  const authorization = basic(user, password);
  return (path, options = {}) =>
    send(port, path, { ...options, host, headers: { ...options.headers, authorization } });
}
