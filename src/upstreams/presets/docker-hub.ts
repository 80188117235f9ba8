import type { Preset } from './preset.js';

/** Docker Hub is known as docker.io, serves its API elsewhere, and `alpine` there means `library/alpine`. */
export const dockerHub: Preset = {
  name: 'docker-hub',
  hosts: [
    'docker.io',
    'index.docker.io',
    'registry-1.docker.io',
    'registry.hub.docker.com',
    'hub.docker.com',
  ],
  registry: new URL('https://registry-1.docker.io'),
  tokenOrigins: ['https://auth.docker.io'],
  defaultNamespace: 'library',
  credentialHost: 'docker.io',
  webPath: /^(?:_|orgs|r|u)\//,
};
