import type { RegistryHost } from '../reference/registry-host.js';
import type { CallOptions, Closable } from './call-options.js';
import type { RegistryRequest, RegistryResponse } from './registry-request.js';

/** One step of getting in at a registry. */
export interface ProbeStep {
  /** `name`: its address is found. `registry`: it answers `/v2/`. `token`: its endpoint gives one. `access`: we are let in. */
  readonly step: 'name' | 'credential' | 'registry' | 'token' | 'access';
  readonly result: 'fine' | 'failed' | 'not needed';
  /** What was found, in few words for operators; never a secret. */
  readonly said: string;
  /** What to do about it; absent where `said` tells that already. */
  readonly fix?: string;
  /** It failed because somebody who was asked did not answer at all. */
  readonly isUnanswered?: boolean;
}

export interface ProbeOptions extends CallOptions {
  /** Milliseconds for all steps together. */
  readonly timeLimit: number;
}

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

  /**
   * Tries to get in, without a repository.
   *
   * @returns the steps in order; after one that failed there are only those that do not depend on it. What is not done
   *   at the end of the time has failed
   * @throws the signal's reason alone
   */
  probe(o: ProbeOptions): Promise<readonly ProbeStep[]>;
}
