import { type BearerFront, type FrontWorld, registryError, startBearerFront } from './front-bearer.js';

/**
 * Harbor: somebody's own host, with the token endpoint on it; robots are `robot$PROJECT+NAME`; layers come from the
 * registry itself; what is not there has a code of Harbor's own, NOT_FOUND.
 */
export function startHarbor(surroundings: FrontWorld): BearerFront {
  return startBearerFront(surroundings, {
    host: 'harbor.example.com',
    realm: 'https://harbor.example.com/service/token',
    service: 'harbor-registry',
    tokens: { lifetime: 1800, fields: ['token', 'access_token', 'expires_in', 'issued_at'], scoped: true },
    hidesAbsent: false,
    wrongLogin: () => registryError(401, 'UNAUTHORIZED', 'unauthorized: unauthorized'),
    notCovered: ({ name, actions }) =>
      registryError(
        401,
        'UNAUTHORIZED',
        `unauthorized to access repository: ${name}, action: ${actions.at(-1)}: unauthorized to access repository`,
      ),
    absent: ({ repository }) => registryError(404, 'NOT_FOUND', `artifact ${repository} not found`),
  });
}
