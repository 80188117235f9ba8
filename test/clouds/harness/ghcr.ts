import { type BearerFront, type FrontWorld, registryError, startBearerFront } from './front-bearer.js';

/**
 * GitHub's container registry: tokens at its own `/token`, without a lifetime; a token is the personal access token in
 * base64, whatever scope it was asked for; 403 DENIED for a wrong one, and for a package that is absent or not ours;
 * layers at a storage host that refuses HEAD (containerd/stargz-snapshotter#167).
 */
export function startGhcr(surroundings: FrontWorld): BearerFront {
  const denied = registryError(403, 'DENIED', 'requested access to the resource is denied');
  return startBearerFront(surroundings, {
    host: 'ghcr.io',
    realm: 'https://ghcr.io/token',
    service: 'ghcr.io',
    pingScope: 'repository:user/image:pull',
    tokens: {
      write: (account) => Buffer.from(account?.password ?? 'anonymous').toString('base64'),
      lifetime: 3600,
      fields: ['token'],
      scoped: false,
    },
    hidesAbsent: true,
    wrongLogin: () => registryError(403, 'DENIED', 'denied'),
    nothingGranted: denied,
    notCovered: ({ actions }) =>
      actions.includes('push') ? registryError(403, 'DENIED', 'permission_denied: write_package') : denied,
    blobs: {
      host: 'pkg-containers.githubusercontent.com',
      prefix: '/ghcr1/blobs/',
      status: 307,
      head: 'redirected',
      refusesHead: true,
    },
  });
}
