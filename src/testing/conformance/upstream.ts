import type { TestContext } from 'node:test';
import type { Upstream } from '../../contracts/upstream.js';
import { type MemoryRegistry, type MemoryRegistryOptions, startMemoryRegistry } from '../memory-registry.js';
import { type MakeSubject, type SubjectTest, suite } from './suite.js';
import { upstreamFailures } from './upstream-failures.js';
import { upstreamReading } from './upstream-reading.js';
import { upstreamUploads } from './upstream-uploads.js';

export interface UpstreamOpening {
  /** Opens the upstream under test for this registry, with credentials that may do everything. */
  open(registry: MemoryRegistry, t: TestContext): Promise<Upstream>;
  /** How the registry is started: its authentication, its storage. */
  readonly registry?: MemoryRegistryOptions;
}

/** What the tests of one contract's suite work with. */
export interface UpstreamSubject {
  readonly upstream: Upstream;
  readonly registry: MemoryRegistry;
}

/** What every Upstream promises, tried on a memory registry. */
export function describeUpstreamConformance(name: string, opening: UpstreamOpening): void {
  const tests: Record<string, SubjectTest<UpstreamSubject>> = {
    ...upstreamReading,
    ...upstreamUploads,
    ...upstreamFailures,
  };
  suite(`Upstream conformance: ${name}`, subjectOf(opening), tests);
}

function subjectOf(opening: UpstreamOpening): MakeSubject<UpstreamSubject> {
  return async (t) => {
    const registry = await startMemoryRegistry(opening.registry);
    t.after(() => registry.close());
    const upstream = await opening.open(registry, t);
    t.after(() => upstream.close());
    return { upstream, registry };
  };
}
