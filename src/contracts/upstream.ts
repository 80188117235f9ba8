import type { RegistryHost } from '../reference/registry-host.js';
import type { CallOptions, Closable } from './call-options.js';
import type { RegistryRequest, RegistryResponse } from './registry-request.js';

/** One remote registry, with our credentials. */
export interface Upstream extends Closable {
  /** The host it speaks to, for messages and for the credential source. */
  readonly registry: RegistryHost;

  /**
   * Repository names are the upstream's own. The answer's body streams; aborting the signal cuts the connection.
   *
   * @throws RegistryError UNAVAILABLE: no credential, no token, not past `/v2/`, or no answer. NAME_UNKNOWN: we are
   *   let in, this repository is not. Otherwise the upstream's own 4xx, with its code.
   */
  fetch(request: RegistryRequest, o: CallOptions): Promise<RegistryResponse>;

  /**
   * What this registry makes of a name: Docker Hub's `alpine` is `library/alpine`. Without I/O.
   *
   * @returns the same for every name that means the same repository
   */
  canonicalName(name: string): string;
}
