import type { BlobStore, CallOptions, Clock, Log, RegistryRequest, Upstream } from '../contracts/index.js';
import { RegistryError } from '../errors.js';
import type { CacheMetrics } from './cache-metrics.js';
import type { LinkMemory } from './link-memory.js';
import type { Misses } from './misses.js';

/** How long what an upstream has said holds, in milliseconds. */
export interface Freshness {
  readonly tag: number;
  readonly content: number;
  readonly miss: number;
}

/** What a cache works with. */
export interface CacheParts {
  readonly inner: Upstream;
  readonly store: BlobStore;
  readonly links: LinkMemory;
  readonly misses: Misses;
  readonly freshness: Freshness;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: CacheMetrics;
}

/** Asks the upstream for what can be kept: no condition and no part of it. */
export function plainRequest(
  { headers, operation }: RegistryRequest,
  method: 'GET' | 'HEAD',
): RegistryRequest {
  const accept = headers.get('accept');
  return {
    method,
    operation,
    headers: new Map(accept === undefined ? [] : [['accept', accept]]),
    blobs: 'stream',
  };
}

/** The upstream has not said no: it did not say anything, or nothing of use. */
export function isDown(error: unknown): error is RegistryError {
  if (!(error instanceof RegistryError)) return false;
  return error.code === 'UNAVAILABLE' || error.code === 'TOOMANYREQUESTS' || error.status >= 500;
}

/** The upstream does not have it. */
export function isMissing(error: unknown): error is RegistryError {
  return error instanceof RegistryError && error.status === 404;
}

/** For what goes on when its caller is gone. */
export const unhurried: CallOptions = { signal: new AbortController().signal };
