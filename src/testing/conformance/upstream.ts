import type { TestContext } from 'node:test';
import type { Upstream } from '../../contracts/upstream.js';
import { type MemoryRegistry, type MemoryRegistryOptions, startMemoryRegistry } from '../memory-registry.js';
import { type MakeSubject, type SubjectTest, suite } from './suite.js';
import { upstreamFailures } from './upstream-failures.js';
import { upstreamManifests } from './upstream-manifests.js';
import { upstreamReading } from './upstream-reading.js';
import type { UpstreamSubject } from './upstream-subject.js';
import { upstreamUploads } from './upstream-uploads.js';

export interface UpstreamOpening {
  /** Opens the upstream under test for this registry, with credentials that may do everything. */
  open(registry: MemoryRegistry, t: TestContext): Promise<Upstream>;
  /** How the registry is started: its authentication, its storage. */
  readonly registry?: MemoryRegistryOptions;
  /** False: it only pulls, and the tests of pushing are left out. */
  readonly pushes?: boolean;
  /** Names of tests that do not apply. */
  readonly without?: readonly string[];
}

/** What every Upstream promises, tried on a memory registry. */
export function describeUpstreamConformance(name: string, opening: UpstreamOpening): void {
  const tests: Record<string, SubjectTest<UpstreamSubject>> = {
    ...upstreamReading,
    ...(opening.pushes === false ? {} : { ...upstreamUploads, ...upstreamManifests }),
    ...upstreamFailures,
  };
  suite(`Upstream conformance: ${name}`, subjectOf(opening), tests, opening.without);
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
