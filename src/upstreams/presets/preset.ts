import type { Action } from '../../reference/scope.js';

/** What is known about one hosted registry beyond the OCI distribution-spec. */
export interface Preset {
  readonly name: string;
  /**
   * The hosts a configuration may name it by: whole names, or what tells whole names (`^…$`, threat 9), in lower case
   * and without a port.
   */
  readonly hosts: readonly (string | RegExp | ((host: string) => boolean))[];
  /** Where its API is; without it, where the configuration says. */
  readonly registry?: URL;
  /** Origins that may issue its tokens beside its own. Compared exactly: `evil-docker.io` ends with `docker.io`. */
  readonly tokenOrigins: readonly string[];
  /** Stands before names of a single component. */
  readonly defaultNamespace?: string;
  /** What a token must grant for a DELETE; without it, `delete`. */
  readonly deleteActions?: readonly Action[];
  /** The name it has in credential stores; without it, its host. */
  readonly credentialHost?: string;
  /** What stands before a repository's name in the address of its page on the web, which people paste. */
  readonly webPath?: RegExp;
  /** The type of credentials it wants, where it has one of its own; without it, it is asked anonymously. */
  readonly usualCredentials?: 'acr' | 'ecr' | 'gcp';
}
