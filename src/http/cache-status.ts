import type { CacheOutcome } from '../contracts/index.js';

const name = 'docker-registry-proxy';

const statuses: Readonly<Record<CacheOutcome['result'], string>> = {
  hit: `${name}; hit`,
  revalidated: `${name}; hit; detail=revalidated`,
  // Section 2.2: less than nothing is left of its life.
  stale: `${name}; hit; ttl=-1; detail=stale`,
  miss: `${name}; fwd=miss`,
  passed: `${name}; fwd=bypass`,
};

/** The `Cache-Status` header (RFC 9211) that tells where an answer comes from. */
export function cacheStatus({ result, reason }: CacheOutcome): string {
  return reason === undefined ? statuses[result] : `${statuses[result]}-${reason.toLowerCase()}`;
}
