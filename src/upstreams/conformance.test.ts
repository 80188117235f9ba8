import { describeUpstreamConformance, type MemoryRegistryOptions } from '../testing/index.js';
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
  'token, uploads outside /v2': {
    registry: { auth: { kind: 'token', ...user }, uploads: { location: 'outside' } },
  },
  'uploads with an absolute Location': { registry: { uploads: { location: 'absolute' } } },
};

/** Where the storage's URL is handed on there is no body to cut. */
const bodiesOfBlobs = [
  'a blob that is cut short fails, with and without Content-Length',
  'aborting, or destroying the body, in its middle releases the connection',
];

for (const [name, { registry, blobs = 'stream' }] of Object.entries(variants)) {
  describeUpstreamConformance(`registry, ${name}`, {
    ...(registry && { registry }),
    open: async ({ url }, t) => {
      const credentials = sourceOf(password(user.username, user.password));
      return (await openUpstream(t, url, { credentials, blobs })).upstream;
    },
    without: blobs === 'redirect' ? bodiesOfBlobs : [],
  });
}
