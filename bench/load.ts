import type { LoadTarget } from './load-client.js';
import type { Origin } from './origin.js';
import type { Peer, PeerName } from './peers/peers.js';

export const layerSize = 256 * 2 ** 20;

/** Something that clients do, done to each peer. */
export interface Load {
  readonly name: string;
  readonly unit: 'request' | 'GiB';
  /** How many units all requests together are. */
  readonly units: number;
  readonly requests: number;
  readonly connections: number;
  /** Requests before anything is measured; a quarter of `requests` where it is missing. */
  readonly warmUp?: number;
  readonly peers: readonly PeerName[];
  /** Whose cost is told as a multiple of the others'; ours where it is missing. */
  readonly subject?: PeerName;
  readonly isTls?: boolean;
  /** Ours has a cache, with these settings beside its place. */
  readonly cache?: object;
  /** The most that it may cost, as a multiple of another's CPU time. */
  readonly targets?: Readonly<Partial<Record<PeerName, number>>>;
  target(peer: Peer, origin: Origin): Promise<LoadTarget>;
}

const manifests = { unit: 'request', units: 4000, requests: 4000, connections: 32 } as const;
const layers = { unit: 'GiB', units: 1, requests: 4, connections: 1 } as const;

// As every client asks; distribution keeps OCI manifests from those that do not say it.
const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, */*';

const by = (path: (origin: Origin) => string) => async (peer: Peer, origin: Origin) => ({
  port: peer.port,
  path: path(origin),
  headers: { accept, ...(await peer.headers()) },
});
const byDigest = by(({ manifest }) => `/v2/team/app/manifests/${manifest}`);
const byTag = by(() => '/v2/team/app/manifests/latest');
const layer = by(({ layer: digest }) => `/v2/team/app/blobs/${digest}`);

export const loads: readonly Load[] = [
  {
    ...manifests,
    name: 'manifest by digest, asked each time',
    peers: ['direct', 'nginx', 'Go', 'ours'],
    targets: { Go: 1.3 },
    target: byDigest,
  },
  {
    ...manifests,
    name: 'manifest by tag, asked each time',
    peers: ['direct', 'nginx', 'Go', 'ours'],
    targets: { Go: 1.3 },
    target: byTag,
  },
  {
    ...manifests,
    name: 'manifest by digest, cached',
    peers: ['nginx', 'distribution', 'ours'],
    targets: { nginx: 2, distribution: 1 / 7 },
    cache: {},
    target: byDigest,
  },
  {
    ...manifests,
    name: 'manifest by tag, cached and fresh',
    peers: ['nginx', 'distribution', 'ours'],
    targets: { nginx: 2, distribution: 1 / 7 },
    cache: { tagFreshness: '1h' },
    target: byTag,
  },
  {
    ...manifests,
    name: 'manifest by tag, cached and revalidated',
    peers: ['nginx', 'distribution', 'ours'],
    cache: {},
    target: byTag,
  },
  {
    ...{ name: 'token, password seen before', unit: 'request', units: 4000, requests: 4000, connections: 32 },
    peers: ['ours'],
    target: async (peer) => ({ port: peer.port, ...(await peer.tokenRequest()) }),
  },
  {
    ...layers,
    name: 'blob of 256 MiB from the cache',
    peers: ['nginx', 'Go', 'distribution', 'ours'],
    targets: { distribution: 0.9 },
    cache: {},
    target: layer,
  },
  {
    ...layers,
    name: 'blob of 256 MiB, plain upstream',
    peers: ['direct', 'nginx', 'Go', 'ours'],
    targets: { Go: 0.95, nginx: 2 },
    target: layer,
  },
  {
    ...layers,
    name: 'blob of 256 MiB, TLS upstream',
    peers: ['nginx', 'Go', 'ours'],
    isTls: true,
    targets: { nginx: 1 },
    target: layer,
  },
  {
    ...manifests,
    name: 'two workers, manifest by digest, asked each time',
    warmUp: 60_000, // each compiles by itself what it runs often
    peers: ['ours', 'workers'],
    subject: 'workers',
    targets: { ours: 1.1 },
    target: byDigest,
  },
  {
    ...layers,
    name: 'two workers, blob of 256 MiB, plain upstream',
    connections: 2,
    warmUp: 16,
    peers: ['ours', 'workers'],
    subject: 'workers',
    targets: { ours: 1.1 },
    target: layer,
  },
];
