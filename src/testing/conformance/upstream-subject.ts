import type { Upstream } from '../../contracts/upstream.js';
import type { MemoryRegistry } from '../memory-registry.js';

/** What the tests of the upstream's suite work with. */
export interface UpstreamSubject {
  readonly upstream: Upstream;
  readonly registry: MemoryRegistry;
}
