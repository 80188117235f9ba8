import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { type FromServer, type Load, loads, type Usage, type Version, warmUp } from './http-versions-load.js';

// npm run bench:http-versions [RUNS]
//
// What HTTP/2 towards clients would cost the server in CPU time and memory, beside HTTP/1.1; see docs/adr/0007. Each run
// has a server process of its own, and the versions take turns.

const versions: readonly Version[] = ['HTTP/1.1', 'HTTP/2'];
const runs = Number(process.argv[2] ?? 5);

/** CPU microseconds of a unit, and the process' peak of resident bytes. */
interface Measured {
  readonly cpu: number;
  readonly peak: number;
}

async function measure(load: Load, version: Version): Promise<Measured> {
  const server = fork(fileURLToPath(new URL('./http-versions-server.ts', import.meta.url)), [version]);
  try {
    const { port } = (await next(server)) as { port: number };
    await warmUp(version, port);
    const before = await usage(server);
    await load.run(version, port);
    const after = await usage(server);
    return { cpu: (after.cpu - before.cpu) / load.units, peak: after.peak };
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

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function printTime(microseconds: number, unit: string): string {
  return microseconds < 10_000
    ? `${microseconds.toFixed(0)} µs/${unit}`
    : `${(microseconds / 1e6).toFixed(2)} s/${unit}`;
}

const { model = '' } = cpus()[0] ?? {};
console.log(`Node ${process.version}, ${model}, medians of ${runs} alternating runs`);
for (const load of loads) {
  const measured = new Map<Version, Measured[]>(versions.map((version) => [version, []]));
  for (let run = 0; run < runs; run++) {
    for (const version of versions) measured.get(version)?.push(await measure(load, version));
  }
  const of = (version: Version, what: keyof Measured) =>
    median((measured.get(version) ?? []).map((one) => one[what]));
  const ratio = (what: keyof Measured) => (of('HTTP/2', what) / of('HTTP/1.1', what)).toFixed(2);
  console.log(`\n${load.name}\n  HTTP/2 to HTTP/1.1: CPU ${ratio('cpu')}, peak memory ${ratio('peak')}`);
  for (const version of versions) {
    const all = (measured.get(version) ?? []).map(({ cpu }) => printTime(cpu, load.unit)).join(', ');
    const peak = (of(version, 'peak') / 2 ** 20).toFixed(0);
    console.log(`  ${version}: ${printTime(of(version, 'cpu'), load.unit)}, peak ${peak} MiB (${all})`);
  }
}
