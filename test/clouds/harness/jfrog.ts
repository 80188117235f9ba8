import { type BearerFront, type FrontWorld, registryError, startBearerFront } from './front-bearer.js';

/**
 * JFrog Artifactory in the cloud: the realm is on its own host, with the port written out (containerd#6339); tokens
 * stand for their account; layers are in S3.
 */
export function startJfrog(surroundings: FrontWorld): BearerFront {
  return startBearerFront(surroundings, {
    host: 'acme.jfrog.io',
    realm: 'https://acme.jfrog.io:443/artifactory/api/docker/docker-local/v2/token',
    service: 'acme.jfrog.io',
    tokens: { lifetime: 3600, fields: ['token', 'expires_in'], scoped: false },
    hidesAbsent: false,
    // Artifactory's own form, which is no registry error.
    wrongLogin: () => ({
      status: 401,
      body: { errors: [{ status: 401, message: 'Wrong username was used' }] },
    }),
    notCovered: () => registryError(403, 'DENIED', 'The requested access to the resource is denied'),
    blobs: {
      host: 'jfrog-prod-use1-shared-virginia-main.s3.amazonaws.com',
      prefix: '/aol-acme/filestore/',
      status: 302,
      head: 'answered',
      refusesHead: true,
    },
  });
}
