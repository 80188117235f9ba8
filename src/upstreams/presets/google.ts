import { artifactRegistryHost, gcrHosts } from '../../reference/google-host.js';
import type { Preset } from './preset.js';

/** Google Container Registry: today the gcr.io repositories of Artifact Registry. */
export const gcr: Preset = {
  name: 'gcr',
  hosts: gcrHosts,
  tokenOrigins: [],
  usualCredentials: 'gcp',
};

/** One host a region or multi-region: `europe-docker.pkg.dev`, `us-central1-docker.pkg.dev`. */
export const artifactRegistry: Preset = {
  name: 'artifact-registry',
  hosts: [artifactRegistryHost],
  tokenOrigins: [],
  usualCredentials: 'gcp',
};

/**
 * Google's public copy of what is pulled most from Docker Hub, with its names. It takes no account into consideration,
 * so it is asked anonymously.
 */
export const gcrMirror: Preset = {
  name: 'gcr-mirror',
  hosts: ['mirror.gcr.io'],
  tokenOrigins: [],
  defaultNamespace: 'library',
};
