/** What is known about one hosted registry beyond the OCI distribution-spec. */
export interface Preset {
  readonly name: string;
  /** The hosts (with a port where it is not the scheme's own) a configuration may name it by. */
  readonly hosts: readonly string[];
  /** Where its API is; without it, where the configuration says. */
  readonly registry?: URL;
  /** Origins that may issue its tokens beside its own. Compared exactly: `evil-docker.io` ends with `docker.io`. */
  readonly tokenOrigins: readonly string[];
  /** Stands before names of a single component. */
  readonly defaultNamespace?: string;
  /** The name it has in credential stores; without it, its host. */
  readonly credentialHost?: string;
}
