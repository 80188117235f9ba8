import { type BearerFront, type FrontWorld, registryError, startBearerFront } from './front-bearer.js';

/** Set by tests. */
export interface HubLimits {
  /** Pulls (GETs of manifests) that are left of the six hours; 200 at the start. 0: 429. */
  pullsLeft: number;
  /** Everything is answered 429, as to a client that asks thousands of times a minute (docker/hub-feedback#1907). */
  isFlooded: boolean;
}

export interface DockerHub extends BearerFront {
  readonly limits: HubLimits;
}

/** Seconds. */
export const hubRetryAfter = { pulls: 1800, flooded: 60 } as const;

const limit = 200;

/**
 * Docker Hub: its token endpoint is another host, a bare name is in `library/`, a token may grant less than was asked,
 * a repository that does not exist is 401, GETs of manifests are counted, and layers are at a CDN.
 */
export function startDockerHub(surroundings: FrontWorld): DockerHub {
  const limits: HubLimits = { pullsLeft: limit, isFlooded: false };
  const rateHeaders = () => ({
    'ratelimit-limit': `${limit};w=21600`,
    'ratelimit-remaining': `${Math.max(0, limits.pullsLeft)};w=21600`,
    // Whose limit it is: an address, or an account's id.
    'docker-ratelimit-source': '9f8e7d6c-aaaa-4bbb-8ccc-0123456789ab',
  });
  const front = startBearerFront(surroundings, {
    host: 'registry-1.docker.io',
    realm: 'https://auth.docker.io/token',
    service: 'registry.docker.io',
    tokens: { lifetime: 300, fields: ['token', 'access_token', 'expires_in', 'issued_at'], scoped: true },
    hidesAbsent: true,
    wrongLogin: () => ({ status: 401, body: { details: 'incorrect username or password' } }),
    notCovered: ({ type, name, actions }) => ({
      ...registryError(
        401,
        'UNAUTHORIZED',
        'authentication required',
        actions.map((action) => ({ Type: type, Class: '', Name: name, Action: action })),
      ),
      error: 'insufficient_scope',
    }),
    blobs: {
      host: 'production.cloudflare.docker.com',
      prefix: '/registry-v2/docker/registry/v2/blobs/',
      status: 307,
      head: 'redirected',
    },
    limit: ({ kind, method }) => {
      if (limits.isFlooded) {
        const headers = { 'retry-after': String(hubRetryAfter.flooded) };
        return { status: 429, body: 'Too Many Requests (HAP429).\n', headers };
      }
      // HEAD tells what is left without counting.
      if (kind !== 'manifest' || method !== 'GET') return undefined;
      if (limits.pullsLeft > 0) {
        limits.pullsLeft--;
        return undefined;
      }
      const headers = { ...rateHeaders(), 'retry-after': String(hubRetryAfter.pulls) };
      const words =
        'You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: ' +
        'https://www.docker.com/increase-rate-limit';
      return { ...registryError(429, 'TOOMANYREQUESTS', words), headers };
    },
    headers: ({ kind, method }) =>
      kind === 'manifest' && (method === 'GET' || method === 'HEAD') ? rateHeaders() : {},
  });
  return Object.assign(front, { limits });
}
