import type { RegistryHost } from './registry-host.js';
import type { RepositoryName } from './repository-name.js';

/** One repository of one registry. Equal texts are equal repositories. */
export interface Repository {
  readonly registry: RegistryHost;
  readonly name: RepositoryName;
}
