/** Container Registry's: today served by Artifact Registry. Each is whole; other names of `gcr.io` are no such registries. */
export const gcrHosts: readonly string[] = ['gcr.io', 'us.gcr.io', 'eu.gcr.io', 'asia.gcr.io'];

/** One host a region or multi-region. Anchored: a name may end in anything (threat 9). */
export const artifactRegistryHost = /^[a-z0-9]+(?:-[a-z0-9]+)*-docker\.pkg\.dev$/;

/**
 * True for the host of a registry, in lower case and without a port, that Google alone can answer at: `gcr.io`,
 * `europe-west1-docker.pkg.dev`.
 */
export function isGoogleHost(host: string): boolean {
  return gcrHosts.includes(host) || artifactRegistryHost.test(host);
}
