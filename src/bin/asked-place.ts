import type { Configuration } from '../config/configuration.js';
import { RegistryError } from '../errors.js';
import { parseRepositoryName, type RepositoryName } from '../reference/repository-name.js';
import type { RouteTable } from '../routing/route-table.js';

/** Where a request goes. */
export interface Place {
  readonly service: string;
  readonly canonical: RepositoryName;
  /** In words. */
  readonly sentTo: string;
}

/** A place that there is not; the message is for the user. */
export class NoPlaceError extends Error {
  override readonly name = 'NoPlaceError';
  readonly setting: 'host' | 'repository';

  constructor(setting: 'host' | 'repository', message: string) {
    super(message);
    this.setting = setting;
  }
}

/**
 * @param asked the repository as clients name it, and the host they ask: that of the external URL where it is absent
 * @throws NoPlaceError
 */
export function findPlace(
  { token }: Configuration,
  routes: RouteTable,
  asked: { readonly host?: string | undefined; readonly repository: string },
): Place {
  return naming('repository', () => {
    const name = parseRepositoryName(asked.repository);
    const service = asked.host?.toLowerCase();
    const host = routes.hosts.find(service);
    if (service !== undefined && host.service !== service) {
      if (token.services.includes(service)) {
        return { service, canonical: name, sentTo: `at ${service} itself` };
      }
      const others =
        token.services.length === 0 ? '' : `, and issues tokens for ${token.services.join(', ')}`;
      throw new NoPlaceError('host', `this proxy serves ${routes.hosts.services.join(', ')}${others}`);
    }
    const destination = routes.resolve(host, name);
    const sentTo =
      destination === undefined
        ? 'nowhere: no route takes this name'
        : `upstream ${destination.upstreamId} (${destination.upstream.registry}), repository ${destination.upstreamName}`;
    return { service: host.service, canonical: destination?.canonical ?? name, sentTo };
  });
}

function naming<T>(setting: NoPlaceError['setting'], action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof RegistryError) throw new NoPlaceError(setting, error.message);
    throw error;
  }
}
