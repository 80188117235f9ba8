import { type BearerFront, type FrontWorld, registryError, startBearerFront } from './front-bearer.js';

/**
 * Quay.io: tokens at its own `/v2/auth`, which says nothing of how long they last; robots are `NAMESPACE+NAME`; what a
 * robot may not see is left out of its token, and the registry then answers 401; layers by 302 from a CDN, while it
 * answers HEAD itself. A push makes its repository, and whoever may push may delete: a scope with `delete` is none to it
 * (quay `endpoints/v2/v2auth.py`, `blob.py`, `manifest.py`).
 */
export function startQuay(surroundings: FrontWorld): BearerFront {
  return startBearerFront(surroundings, {
    host: 'quay.io',
    realm: 'https://quay.io/v2/auth',
    service: 'quay.io',
    tokens: { lifetime: 3600, fields: ['token'], scoped: true, actions: ['pull', 'push', '*'] },
    deleteNeeds: ['pull', 'push'],
    // Layers go when nothing refers to them.
    limit: ({ kind, method }) =>
      kind === 'blob' && method === 'DELETE'
        ? registryError(405, 'UNSUPPORTED', 'The operation is unsupported.', {})
        : undefined,
    hidesAbsent: true,
    wrongLogin: (username) =>
      registryError(
        401,
        'UNAUTHORIZED',
        username.includes('+')
          ? `Could not find robot with username: ${username} and supplied password.`
          : 'Invalid Username or Password',
        {},
      ),
    notCovered: () =>
      registryError(401, 'UNAUTHORIZED', 'access to the requested resource is not authorized', {}),
    blobs: {
      host: 'cdn03.quay.io',
      prefix: '/quayio-production-s3/',
      status: 302,
      head: 'answered',
      // S3 signs for one method.
      refusesHead: true,
    },
  });
}
