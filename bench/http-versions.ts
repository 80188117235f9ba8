import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type FromServer, type Load, loads, type Usage, type Version, warmUp } from './http-versions-load.js';

// npm run bench:http-versions [-- RUNS [LOADS]]        LOADS: only those whose name begins so
//
// What HTTP/2 towards clients would cost the server in CPU time and memory, beside HTTP/1.1; see docs/adr/0007. Each run
// has a server process of its own, and the versions take turns.

const versions: readonly Version[] = ['HTTP/1.1', 'HTTP/2'];
const runs = Number(process.argv[2] ?? 5);
const wanted = process.argv[3] ?? '';

/** Of the server: CPU microseconds of a unit, and the peak of resident bytes. Of the client: microseconds of a unit. */
interface Measured {
  readonly cpu: number;
  readonly wall: number;
  readonly peak: number;
  /** Milliseconds; 99 of 100 manifests were faster. */
  readonly latency?: number;
}

async function measure(load: Load, version: Version): Promise<Measured> {
  const server = fork(fileURLToPath(new URL('./http-versions-server.ts', import.meta.url)), [version]);
  try {
    const { port } = (await next(server)) as { port: number };
    await warmUp(version, port);
    const before = await usage(server);
    const startedAt = performance.now();
    const times = await load.run(version, port);
    const wall = ((performance.now() - startedAt) * 1000) / load.units;
    const after = await usage(server);
    const latency = times.length > 0 ? quantile(times, 0.99) : undefined;
    return {
      cpu: (after.cpu - before.cpu) / load.units,
      wall,
      peak: after.peak,
      ...(latency !== undefined && { latency }),
    };
  } finally {
    server.kill();
  }
}

async function next(server: ChildProcess): Promise<FromServer> {
  const [message] = await once(server, 'message');
  return message;
}

async function usage(server: ChildProcess): Promise<Usage> {
  server.send('usage');
  return (await next(server)) as Usage;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * q)] ?? Number.NaN;
}

function printTime(microseconds: number, unit: string): string {
  return microseconds < 10_000
    ? `${microseconds.toFixed(0)} µs/${unit}`
    : `${(microseconds / 1e6).toFixed(2)} s/${unit}`;
}

function tell(load: Load, measured: ReadonlyMap<Version, readonly Measured[]>): void {
  const all = (version: Version, what: keyof Measured) =>
    (measured.get(version) ?? []).map((one) => one[what] ?? Number.NaN);
  const median = (version: Version, what: keyof Measured) => quantile(all(version, what), 0.5);
  const told = (['cpu', 'wall', 'peak', 'latency'] as const).filter((what) => median('HTTP/2', what) > 0);
  const ratios = told.map(
    (what) => `${what} ${(median('HTTP/2', what) / median('HTTP/1.1', what)).toFixed(2)}`,
  );
  console.log(`\n${load.name}\n  HTTP/2 to HTTP/1.1: ${ratios.join(', ')}`);
  for (const version of versions) {
    const [cpu, wall] = (['cpu', 'wall'] as const).map((what) => printTime(median(version, what), load.unit));
    const peak = `${(median(version, 'peak') / 2 ** 20).toFixed(0)} MiB`;
    const latency = told.includes('latency') ? `, p99 ${median(version, 'latency').toFixed(1)} ms` : '';
    console.log(`  ${version}: CPU ${cpu}, wall ${wall}, peak ${peak}${latency}`);
    console.log(
      `    CPU of each run: ${all(version, 'cpu')
        .map((one) => printTime(one, load.unit))
        .join(', ')}`,
    );
  }
}

const { model = '' } = cpus()[0] ?? {};
console.log(`Node ${process.version}, ${cpus().length} × ${model}, medians of ${runs} alternating runs`);
for (const load of loads.filter(({ name }) => name.startsWith(wanted))) {
  const measured = new Map<Version, Measured[]>(versions.map((version) => [version, []]));
  for (let run = 0; run < runs; run++) {
    for (const version of versions) measured.get(version)?.push(await measure(load, version));
  }
  tell(load, measured);
}
