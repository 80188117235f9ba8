import { cpus } from 'node:os';
import { writeCertificate } from '../test/e2e/harness/certificate.js';
import { openWorkspace, type Workspace } from '../test/e2e/harness/workspace.js';
import { request } from './load-client.js';
import { type Origin, startOrigin } from './origin.js';
import { goReverseProxy, nginx, ours, type Peer } from './peers/peers.js';
import { usageOf } from './process-usage.js';

// npm run build && npm run bench [-- --json] [RUNS [LOADS]]        LOADS: only those whose name begins so
//
// What the proxy costs beside others that stand before the same registry, as CPU time of the process alone: that holds on
// a machine where others are at work, too. Each run has all peers, one after the other, and they take turns in being first.

interface Load {
  readonly name: string;
  readonly unit: 'request' | 'GiB';
  readonly units: number;
  readonly isTls?: boolean;
  /** Ours has a cache, with these settings beside its place. */
  readonly cache?: object;
  path(origin: Origin): string;
  readonly requests: number;
  readonly connections: number;
}

const layer = 256 * 1024 * 1024;
const loads: readonly Load[] = [
  {
    ...{ name: 'manifest by digest, asked each time', unit: 'request', units: 8000 },
    ...{ requests: 8000, connections: 32, path: ({ manifest }) => `/v2/team/app/manifests/${manifest}` },
  },
  {
    ...{ name: 'manifest by tag, asked each time', unit: 'request', units: 8000 },
    ...{ requests: 8000, connections: 32, path: () => '/v2/team/app/manifests/latest' },
  },
  {
    ...{ name: 'manifest by digest, cached', unit: 'request', units: 8000, cache: {} },
    ...{ requests: 8000, connections: 32, path: ({ manifest }) => `/v2/team/app/manifests/${manifest}` },
  },
  {
    ...{
      name: 'manifest by tag, cached and fresh',
      unit: 'request',
      units: 8000,
      cache: { tagFreshness: '1h' },
    },
    ...{ requests: 8000, connections: 32, path: () => '/v2/team/app/manifests/latest' },
  },
  {
    ...{ name: 'manifest by tag, cached and revalidated', unit: 'request', units: 8000, cache: {} },
    ...{ requests: 8000, connections: 32, path: () => '/v2/team/app/manifests/latest' },
  },
  {
    ...{ name: 'cached blob of 256 MiB', unit: 'GiB', units: 1, cache: {} },
    ...{ requests: 4, connections: 1, path: ({ layer: digest }) => `/v2/team/app/blobs/${digest}` },
  },
  {
    ...{ name: 'blob of 256 MiB, plain upstream', unit: 'GiB', units: 1 },
    ...{ requests: 4, connections: 1, path: ({ layer: digest }) => `/v2/team/app/blobs/${digest}` },
  },
  {
    ...{ name: 'blob of 256 MiB, TLS upstream', unit: 'GiB', units: 1, isTls: true },
    ...{ requests: 4, connections: 1, path: ({ layer: digest }) => `/v2/team/app/blobs/${digest}` },
  },
];

interface Measured {
  /** CPU seconds of a unit. */
  readonly cpu: number;
  /** Seconds of a unit. */
  readonly wall: number;
  /** Bytes. */
  readonly peak: number;
}

async function measure(load: Load, peer: Peer, origin: Origin): Promise<Measured> {
  const target = { port: peer.port, path: load.path(origin), headers: await peer.headers() };
  const before = usageOf(peer.pid);
  const startedAt = performance.now();
  await request(target, load.requests, load.connections);
  const wall = (performance.now() - startedAt) / 1000 / load.units;
  const after = usageOf(peer.pid);
  return { cpu: (after.cpu - before.cpu) / load.units, wall, peak: after.peak };
}

/** Compilers and caches get ready, and connections are made. */
async function warmUp(load: Load, peer: Peer, origin: Origin): Promise<void> {
  const target = { port: peer.port, path: load.path(origin), headers: await peer.headers() };
  await request(target, Math.ceil(load.requests / 4), load.connections);
}

async function run(
  workspace: Workspace,
  load: Load,
  runs: number,
): Promise<ReadonlyMap<string, readonly Measured[]>> {
  const certificate = load.isTls ? await writeCertificate(workspace, 'DNS:localhost') : undefined;
  const tls = certificate && { ...certificate, authority: certificate.certificate };
  const origin = await startOrigin(workspace, { layer, ...(tls && { tls }) });
  const peers = [
    await nginx(workspace, origin),
    await goReverseProxy(workspace, origin),
    await ours(
      workspace,
      origin,
      load.cache && { upstream: { cache: { path: workspace.path('cache'), maxSize: '2GB', ...load.cache } } },
    ),
  ];
  const measured = new Map<string, Measured[]>(peers.map(({ name }) => [name, []]));
  for (const peer of peers) await warmUp(load, peer, origin);
  for (let run = 0; run < runs; run++) {
    for (let turn = 0; turn < peers.length; turn++) {
      const peer = peers[(run + turn) % peers.length] as Peer;
      measured.get(peer.name)?.push(await measure(load, peer, origin));
    }
  }
  return measured;
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const isJson = process.argv.includes('--json');
const words = process.argv.slice(2).filter((one) => !one.startsWith('--'));
const runs = Number(words[0] ?? 5);
const { model = '' } = cpus()[0] ?? {};
if (!isJson)
  console.log(`Node ${process.version}, ${cpus().length} × ${model}, medians of ${runs} runs in turns`);
for (const load of loads.filter(({ name }) => name.startsWith(words[1] ?? ''))) {
  const workspace = await openWorkspace();
  try {
    const measured = await run(workspace, load, runs);
    const of = (name: string, what: keyof Measured) =>
      median((measured.get(name) ?? []).map((one) => one[what]));
    console.log(`\n${load.name}`);
    for (const name of measured.keys()) {
      const cpu = of(name, 'cpu');
      const amount = load.unit === 'GiB' ? `${cpu.toFixed(2)} s/GiB` : `${(cpu * 1e6).toFixed(0)} µs/request`;
      const ratios = [...measured.keys()]
        .map((other) => `${(cpu / of(other, 'cpu')).toFixed(2)} × ${other}`)
        .join(', ');
      console.log(
        `  ${name.padEnd(16)} ${amount.padEnd(16)} ${ratios}; peak ${(of(name, 'peak') / 2 ** 20).toFixed(0)} MiB, ${(load.unit === 'GiB' ? of(name, 'wall') : of(name, 'wall') * 1e6).toFixed(2)} ${load.unit === 'GiB' ? 's' : 'µs'} wall`,
      );
    }
  } finally {
    await workspace.close();
  }
}
process.exit(0);
