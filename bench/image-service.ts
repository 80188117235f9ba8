import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { answers, CallClient, firstAnswer, type Method, registry, secret } from './image-service-calls.js';

// npm run build && npm run executable && npm run bench:image-service [-- --json] [RUNS]
//
// What `kubelet-image-service serve` costs a node: memory and the time of its start beside a bare server of node:http2 that
// answers constants; the same of the self-contained executable, where it was made, beside `node dist/bin/...`; CPU time of a relayed call beside what a direct one costs its client and the runtime together. Each run
// has processes of its own, and takes turns. See docs/kubelet-image-service.md.

const pulls = 1000;
const calls: Readonly<Record<'ImageStatus' | 'PullImage', number>> = { ImageStatus: 5000, PullImage: 2000 };
const isJson = process.argv.includes('--json');
const runs = Number(process.argv.slice(2).find((one) => /^\d+$/.test(one)) ?? 5);

/** Bytes, or milliseconds. */
interface Server {
  readonly start: number;
  readonly memory: number;
  /** What of it is no part of a file: the kernel cannot take it back. */
  readonly ownMemory: number;
  readonly memoryAfterPulls: number;
}

/** Microseconds a call. */
interface Call {
  /** CPU of our process. */
  readonly added: number;
  /** CPU of the client and the runtime, where they speak directly. */
  readonly direct: number;
  /** Time until the answer is there. */
  readonly wall: number;
  readonly directWall: number;
}

interface Run {
  readonly ours: Server;
  readonly bare: Server;
  readonly executable: Server | undefined;
  readonly calls: Readonly<Record<keyof typeof calls, Call>>;
}

const here = fileURLToPath(new URL('.', import.meta.url));
const program = join(here, '../dist/bin/kubelet-image-service.js');
const executable = join(here, `../dist/executable/kubelet-image-service-linux-${process.arch}`);
const directory = mkdtempSync(join(tmpdir(), 'drp-bench-'));
const at = (name: string) => join(directory, name);

/** Standard output is where log lines go: they are written, and nobody reads them. */
function begin(command: readonly [string, ...string[]], args: readonly string[]): ChildProcess {
  const env = { PATH: process.env.PATH, ANSWERS: answers };
  const [file, ...first] = command;
  return spawn(file, [...first, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] });
}

function beginBare(path: string): ChildProcess {
  rmSync(path, { force: true }); // of the run before
  return begin([process.execPath, join(here, 'image-service-runtime.mjs')], [path]);
}

function beginOurs(command: readonly [string, ...string[]]): ChildProcess {
  const credentials = { type: 'static', username: 'bench', password: { file: 'password' } };
  writeFileSync(at('password'), secret, { mode: 0o600 });
  const configuration = {
    listen: `unix://${at('image.sock')}`,
    runtime: { type: 'cri', endpoint: `unix://${at('runtime.sock')}` },
    images: [{ match: `${registry}/**`, credentials }],
  };
  writeFileSync(at('config.yaml'), JSON.stringify(configuration));
  return begin(command, ['serve', '--config', at('config.yaml')]);
}

async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  await closed;
}

async function measureServer(
  path: string,
  beginOne: () => ChildProcess,
  then?: (client: CallClient, child: ChildProcess) => Promise<void>,
): Promise<Server> {
  const startedAt = performance.now();
  const child = beginOne();
  try {
    const client = await firstAnswer(path);
    const start = performance.now() - startedAt;
    const memory = residentBytes(child);
    const ownMemory = residentBytes(child, 'RssAnon');
    await client.repeat('PullImage', pulls);
    const memoryAfterPulls = residentBytes(child);
    await then?.(client, child);
    client.close();
    return { start, memory, ownMemory, memoryAfterPulls };
  } finally {
    await end(child);
  }
}

/** proc_pid_status(5) */
function residentBytes({ pid }: ChildProcess, line: 'VmRSS' | 'RssAnon' = 'VmRSS'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n');
  return Number(/\d+/.exec(status.find((one) => one.startsWith(line)) ?? '')) * 1024;
}

/** Microseconds of all threads, since they began. The first number of `schedstat`: nanoseconds on a processor. */
function cpuOf({ pid }: ChildProcess): number {
  return readdirSync(`/proc/${pid}/task`)
    .map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1000)
    .reduce((sum, one) => sum + one, 0);
}

function ownCpu(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** @param cpu what is counted. @returns both a call */
async function timed(
  client: CallClient,
  method: Method,
  times: number,
  cpu: () => number,
): Promise<{ readonly cpu: number; readonly wall: number }> {
  const before = cpu();
  const startedAt = performance.now();
  await client.repeat(method, times);
  const wall = ((performance.now() - startedAt) * 1000) / times;
  return { cpu: (cpu() - before) / times, wall };
}

async function measureCall(
  method: keyof typeof calls,
  relayed: CallClient,
  ours: ChildProcess,
  runtime: ChildProcess,
): Promise<Call> {
  const direct = await CallClient.connect(at('runtime.sock'));
  // So that what is measured is compiled.
  for (const client of [direct, relayed]) await client.repeat(method, calls[method] / 4);
  const without = await timed(direct, method, calls[method], () => ownCpu() + cpuOf(runtime));
  const withUs = await timed(relayed, method, calls[method], () => cpuOf(ours));
  direct.close();
  return { added: withUs.cpu, direct: without.cpu, wall: withUs.wall, directWall: without.wall };
}

async function run(runtime: ChildProcess): Promise<Run> {
  const bare = await measureServer(at('bare.sock'), () => beginBare(at('bare.sock')));
  const measured: Partial<Record<keyof typeof calls, Call>> = {};
  const ours = await measureServer(
    at('image.sock'),
    () => beginOurs([process.execPath, program]),
    async (client, child) => {
      if (!(await client.wasShownTheCredential())) throw new Error('the runtime was shown no credential');
      for (const method of Object.keys(calls) as (keyof typeof calls)[]) {
        measured[method] = await measureCall(method, client, child, runtime);
      }
    },
  );
  const single = existsSync(executable)
    ? await measureServer(at('image.sock'), () => beginOurs([executable]))
    : undefined;
  return { ours, bare, executable: single, calls: measured as Run['calls'] };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** What is told: of us, and of what stands beside it. */
interface Row {
  readonly what: string;
  readonly unit: 'MiB' | 'ms' | 'µs';
  readonly ours: number;
  readonly beside: number;
  /** Of each run, ours. */
  readonly all: readonly number[];
}

function rowsOf(all: readonly Run[]): readonly Row[] {
  const row = (
    what: string,
    unit: Row['unit'],
    ours: (run: Run) => number,
    beside: (run: Run) => number,
  ): Row => ({
    what,
    unit,
    ours: median(all.map(ours)),
    beside: median(all.map(beside)),
    all: all.map(ours),
  });
  const server = (what: string, unit: Row['unit'], key: keyof Server, scale: number) =>
    row(
      what,
      unit,
      (one) => one.ours[key] / scale,
      (one) => one.bare[key] / scale,
    );
  const single = (what: string, unit: Row['unit'], key: keyof Server, scale: number) =>
    row(
      `${what}, of the executable`,
      unit,
      (one) => (one.executable?.[key] ?? Number.NaN) / scale,
      (one) => one.ours[key] / scale,
    );
  return [
    ...(all.every((one) => one.executable !== undefined)
      ? [
          single('resident memory at the start', 'MiB', 'memory', 2 ** 20),
          single('private memory at the start', 'MiB', 'ownMemory', 2 ** 20),
          single(`resident memory after ${pulls} pulls`, 'MiB', 'memoryAfterPulls', 2 ** 20),
          single('start to the first answer', 'ms', 'start', 1),
        ]
      : []),
    server('resident memory at the start', 'MiB', 'memory', 2 ** 20),
    server('private memory at the start', 'MiB', 'ownMemory', 2 ** 20),
    server(`resident memory after ${pulls} pulls`, 'MiB', 'memoryAfterPulls', 2 ** 20),
    server('start to the first answer', 'ms', 'start', 1),
    ...(Object.keys(calls) as (keyof typeof calls)[]).flatMap((method) => [
      row(
        `CPU added to ${method}`,
        'µs',
        (one) => one.calls[method].added,
        (one) => one.calls[method].direct,
      ),
      row(
        `time of ${method}`,
        'µs',
        (one) => one.calls[method].wall,
        (one) => one.calls[method].directWall,
      ),
    ]),
  ];
}

function print(rows: readonly Row[]): void {
  console.log('ratio    ours  beside        what');
  for (const { what, unit, ours, beside, all } of rows) {
    const [ratio, mine, theirs] = [(ours / beside).toFixed(2), ours.toFixed(0), beside.toFixed(0)];
    console.log(`${ratio.padStart(5)} ${mine.padStart(7)} ${theirs.padStart(7)} ${unit.padEnd(4)}  ${what}`);
    console.log(`${' '.repeat(29)}each run: ${all.map((one) => one.toFixed(0)).join(', ')}`);
  }
  console.log(`\n${sizeOfExecutable()}`);
  for (const line of [
    'Beside the executable: `node dist/bin/...`, with the Node.js that runs this. Beside memory and start: a server of',
    'node:http2 that answers constants. Beside the CPU added: that of a direct call at client and runtime together. Beside',
    'the time of a call: that of a direct one. One call at a time.',
  ]) {
    console.log(line);
  }
}

function sizeOfExecutable(): string {
  if (!existsSync(executable)) return 'There is no executable; `npm run executable` makes it.';
  return `The executable is a file of ${(statSync(executable).size / 2 ** 20).toFixed(0)} MiB.`;
}

if (!existsSync(program)) throw new Error('run `npm run build` first');
const runtime = beginBare(at('runtime.sock'));
try {
  (await firstAnswer(at('runtime.sock'))).close();
  const all: Run[] = [];
  for (let i = 0; i < runs; i++) all.push(await run(runtime));
  const { model = '' } = cpus()[0] ?? {};
  const machine = `${cpus().length} × ${model}`;
  const rows = rowsOf(all);
  if (isJson) console.log(JSON.stringify({ node: process.version, machine, runs, rows }, null, 2));
  else {
    console.log(`Node ${process.version}, ${machine}, medians of ${runs} alternating runs\n`);
    print(rows);
  }
} finally {
  await end(runtime);
  rmSync(directory, { recursive: true });
}
