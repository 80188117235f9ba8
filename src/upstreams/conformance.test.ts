import { suite } from '../testing/conformance/suite.js';
import { upstreamFailures } from '../testing/conformance/upstream-failures.js';
import { upstreamReading } from '../testing/conformance/upstream-reading.js';
import { type MemoryRegistryOptions, startMemoryRegistry } from '../testing/index.js';
import { openUpstream, password, sourceOf } from './opened-upstream.test.js';

const user = { username: 'robot', password: 'hush' } as const;

const variants: Readonly<
  Record<string, { registry?: MemoryRegistryOptions; blobs?: 'redirect' | 'stream' }>
> = {
  open: {},
  basic: { registry: { auth: { kind: 'basic', ...user } } },
  'token, storage elsewhere': {
    registry: { auth: { kind: 'token', ...user }, storage: { redirect: 'absolute' } },
  },
  'token, relative storage': {
    registry: { auth: { kind: 'token', ...user }, storage: { redirect: 'relative' } },
  },
  'token, redirects handed on': {
    registry: { auth: { kind: 'token', ...user }, storage: { redirect: 'absolute' } },
    blobs: 'redirect',
  },
};

/** Where the storage's URL is handed on there is no body to cut. */
const bodiesOfBlobs = [
  'a blob that is cut short fails, with and without Content-Length',
  'aborting, or destroying the body, in its middle releases the connection',
];

// The suites for reading. Writing is not supported yet: with it this becomes describeUpstreamConformance.
for (const [name, { registry: options, blobs = 'stream' }] of Object.entries(variants)) {
  suite(
    `Upstream conformance, reading: registry, ${name}`,
    async (t) => {
      const registry = await startMemoryRegistry(options);
      t.after(() => registry.close());
      const credentials = sourceOf(password(user.username, user.password));
      const { upstream } = await openUpstream(t, registry.url, { credentials, blobs });
      return { upstream, registry };
    },
    { ...upstreamReading, ...upstreamFailures },
    blobs === 'redirect' ? bodiesOfBlobs : [],
  );
}
