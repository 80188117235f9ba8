import { cpus } from 'node:os';
import { writeCertificate } from '../test/e2e/harness/certificate.js';
import { openWorkspace, type Workspace } from '../test/e2e/harness/workspace.js';
import { type Load, layerSize, loads } from './load.js';
import { request } from './load-client.js';
import { type Origin, startOrigin } from './origin.js';
import { type Peer, type PeerName, startPeer } from './peers/peers.js';
import { usageOf } from './process-usage.js';

// npm run bench [-- --json] [RUNS [LOADS]]        LOADS: only those whose name begins so
//
// What the proxy costs beside others that stand before the same registry, as CPU time of the process alone: that holds on
// a machine where others are at work, too. Each run has all peers, one after the other, and they take turns in being first.
// See docs/performance.md.

interface Measured {
  /** CPU seconds of a unit. */
  readonly cpu: number;
  /** Seconds of a unit. */
  readonly wall: number;
  /** Bytes of resident memory at their most, since the process began. */
  readonly peak: number;
}

/** Of one peer under one load: medians of all runs. */
interface PeerResult extends Measured {
  readonly peer: PeerName;
}

interface LoadResult {
  readonly load: string;
  readonly unit: Load['unit'];
  readonly peers: readonly PeerResult[];
  /** CPU of ours, or of the load's subject, as a multiple of another's, and what it may be. */
  readonly ratios: readonly { readonly to: PeerName; readonly ratio: number; readonly atMost?: number }[];
}

async function measure(load: Load, peer: Peer, origin: Origin): Promise<Measured> {
  const target = await load.target(peer, origin);
  const before = usageOf(peer.pid);
  const startedAt = performance.now();
  await request(target, load.requests, load.connections);
  const wall = (performance.now() - startedAt) / 1000 / load.units;
  const after = usageOf(peer.pid);
  return { cpu: (after.cpu - before.cpu) / load.units, wall, peak: after.peak };
}

/** Compilers and caches get ready, and connections are made. */
async function warmUp(load: Load, peer: Peer, origin: Origin): Promise<void> {
  await request(
    await load.target(peer, origin),
    load.warmUp ?? Math.ceil(load.requests / 4),
    load.connections,
  );
}

/** @returns what each run measured, by peer */
async function runAll(
  workspace: Workspace,
  load: Load,
  runs: number,
): Promise<ReadonlyMap<PeerName, readonly Measured[]>> {
  const certificate = load.isTls ? await writeCertificate(workspace, 'DNS:localhost') : undefined;
  const tls = certificate && { ...certificate, authority: certificate.certificate };
  const origin = await startOrigin(workspace, { layer: layerSize, ...(tls && { tls }) });
  const peers: Peer[] = [];
  for (const name of load.peers) peers.push(await startPeer(name, workspace, origin, load.cache));
  const measured = new Map<PeerName, Measured[]>(peers.map(({ name }) => [name, []]));
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

function summary(load: Load, measured: ReadonlyMap<PeerName, readonly Measured[]>): LoadResult {
  const of = (name: PeerName, what: keyof Measured) =>
    median((measured.get(name) ?? []).map((one) => one[what]));
  const peers = load.peers.map((peer) => ({
    peer,
    cpu: of(peer, 'cpu'),
    wall: of(peer, 'wall'),
    peak: of(peer, 'peak'),
  }));
  const { subject = 'ours' } = load;
  const cost = of(subject, 'cpu');
  // `direct` is the registry itself: what it costs to answer says nothing of what it costs to pass on.
  const others = load.peers.filter((peer) => peer !== subject && peer !== 'direct');
  const ratios = others.map((to) => {
    const atMost = load.targets?.[to];
    return { to, ratio: cost / of(to, 'cpu'), ...(atMost !== undefined && { atMost }) };
  });
  return { load: load.name, unit: load.unit, peers, ratios };
}

const time = (seconds: number, unit: Load['unit']) =>
  unit === 'GiB' ? `${seconds.toFixed(2)} s` : `${(seconds * 1e6).toFixed(0)} µs`;

function print({ load, unit, peers, ratios }: LoadResult): void {
  console.log(`\n${load}`);
  for (const { to, ratio, atMost } of ratios) {
    const verdict =
      atMost === undefined ? '' : `  at most ${atMost.toFixed(2)}: ${ratio <= atMost ? 'met' : 'MISSED'}`;
    console.log(`  ${ratio.toFixed(2).padStart(6)} × ${to.padEnd(13)}${verdict}`);
  }
  for (const { peer, cpu, wall, peak } of peers) {
    const memory = `${(peak / 2 ** 20).toFixed(0)} MiB`;
    console.log(
      `    ${peer.padEnd(13)} CPU ${time(cpu, unit).padStart(7)}/${unit}, wall ${time(wall, unit).padStart(7)}, peak ${memory}`,
    );
  }
}

const isJson = process.argv.includes('--json');
const words = process.argv.slice(2).filter((one) => !one.startsWith('--'));
const runs = Number(words[0] ?? 5);
if (!Number.isSafeInteger(runs) || runs < 1) {
  console.error(`RUNS is a number from 1, not ${words[0]}`);
  process.exit(2);
}
const chosen = loads.filter(({ name }) => name.startsWith(words[1] ?? ''));
if (chosen.length === 0) {
  console.error(`no load begins with ${words[1]}; there are:\n${loads.map(({ name }) => name).join('\n')}`);
  process.exit(2);
}
const machine = { node: process.version, processors: cpus().length, model: cpus()[0]?.model ?? '', runs };
if (!isJson)
  console.log(
    `Node ${machine.node}, ${machine.processors} × ${machine.model}, medians of ${runs} runs in turns`,
  );
const results: LoadResult[] = [];
for (const load of chosen) {
  const workspace = await openWorkspace();
  try {
    const result = summary(load, await runAll(workspace, load, runs));
    results.push(result);
    if (!isJson) print(result);
  } finally {
    await workspace.close();
  }
}
if (isJson) console.log(JSON.stringify({ ...machine, results }, undefined, 2));
process.exit(0);
