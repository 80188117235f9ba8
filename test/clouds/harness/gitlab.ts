import { type BearerFront, type FrontWorld, registryError, startBearerFront } from './front-bearer.js';

/** GitLab.com: tokens at another host, layers at a CDN that also answers HEAD. */
export function startGitlab(surroundings: FrontWorld): BearerFront {
  return startBearerFront(surroundings, {
    host: 'registry.gitlab.com',
    realm: 'https://gitlab.com/jwt/auth',
    service: 'container_registry',
    tokens: { lifetime: 300, fields: ['token', 'expires_in', 'issued_at'], scoped: true },
    hidesAbsent: false,
    wrongLogin: () =>
      registryError(
        401,
        'UNAUTHORIZED',
        'HTTP Basic: Access denied. The provided password or token is incorrect',
      ),
    notCovered: () => ({
      ...registryError(401, 'UNAUTHORIZED', 'authentication required'),
      error: 'insufficient_scope',
    }),
    blobs: {
      host: 'cdn.registry.gitlab-static.net',
      prefix: '/gitlab/docker/registry/v2/blobs/',
      status: 307,
      head: 'redirected',
    },
  });
}
