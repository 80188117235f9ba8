import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { Agent, get } from 'node:https';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

// What clients ask for, in either version.

export type Version = 'HTTP/1.1' | 'HTTP/2';

/** Microseconds and bytes since the process began. */
export interface Usage {
  readonly kind: 'usage';
  readonly cpu: number;
  readonly peak: number;
}

export type FromServer = Usage | { readonly kind: 'listening'; readonly port: number };

/** Bytes. */
export const blobSize = 256 * 1024 * 1024;
export const manifestSize = 2048;
/** As long as a token of ours. */
export const authorization = `Bearer ${'t'.repeat(800)}`;

const blobs = 4;
const inFlight = 32;
const manifests = 20_000;

/** A client of one version. */
interface Client {
  readonly get: (path: string) => Promise<void>;
  readonly close: () => void;
}

export interface Load {
  readonly name: string;
  /** What CPU time is told for. */
  readonly unit: string;
  readonly units: number;
  /** @returns how long each manifest took, in milliseconds */
  run(version: Version, port: number): Promise<readonly number[]>;
}

export const loads: readonly Load[] = [
  {
    name: 'blobs: 4 streams of 256 MiB',
    unit: 'GiB',
    units: (blobs * blobSize) / 2 ** 30,
    run: (version, port) => withClient(version, port, blobs, readBlobs),
  },
  {
    name: 'manifests: 2 KiB, 32 in flight',
    unit: 'request',
    units: manifests,
    run: (version, port) =>
      withClient(version, port, inFlight, (client) =>
        repeat(manifests, inFlight, () => client.get('/manifest')),
      ),
  },
  {
    name: 'manifests now and then, while 4 blobs of 256 MiB come to the same client',
    unit: 'GiB',
    units: (blobs * blobSize) / 2 ** 30,
    run: (version, port) => withClient(version, port, blobs + 1, readBoth),
  },
  ...(hasCurl()
    ? [{ name: 'blobs, by curl', unit: 'GiB', units: (blobs * blobSize) / 2 ** 30, run: runCurl }]
    : []),
];

/** So that what is measured is compiled, and its connections stand. */
export function warmUp(version: Version, port: number): Promise<void> {
  return withClient(version, port, inFlight, async (client) => {
    await repeat(2_000, inFlight, () => client.get('/manifest'));
    await client.get('/blob');
  });
}

async function withClient<T>(
  version: Version,
  port: number,
  connections: number,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const client = version === 'HTTP/1.1' ? oldClient(port, connections) : await newClient(port);
  const used = await use(client);
  client.close();
  return used;
}

async function readBlobs(client: Client): Promise<readonly number[]> {
  await repeat(blobs, blobs, () => client.get('/blob'));
  return [];
}

async function readBoth(client: Client): Promise<readonly number[]> {
  let reading = true;
  const read = readBlobs(client).finally(() => {
    reading = false;
  });
  const times: number[] = [];
  while (reading) {
    const before = performance.now();
    await client.get('/manifest');
    times.push(performance.now() - before);
    await sleep(10); // so that they are as many in either version, and cost little
  }
  await read;
  return times;
}

function oldClient(port: number, maxSockets: number): Client {
  const agent = new Agent({ keepAlive: true, maxSockets, rejectUnauthorized: false });
  return {
    get: async (path) => {
      const request = get({ agent, host: '127.0.0.1', port, path, headers: { authorization } });
      const [response] = await once(request, 'response');
      if (response.statusCode !== 200) throw new Error(`answered ${response.statusCode}`);
      await readAll(response, path);
    },
    close: () => agent.destroy(),
  };
}

/** With windows as wide as Go's clients open them: Node's own would measure how long a client waits. */
async function newClient(port: number): Promise<Client> {
  const session = connect(`https://127.0.0.1:${port}`, {
    rejectUnauthorized: false,
    settings: { initialWindowSize: 4 * 1024 * 1024 },
  });
  await once(session, 'connect');
  session.setLocalWindowSize(1024 * 1024 * 1024);
  return {
    get: async (path) => {
      const stream = session.request({ ':path': path, authorization });
      const [headers] = await once(stream, 'response');
      if (headers[':status'] !== 200) throw new Error(`answered ${headers[':status']}`);
      await readAll(stream, path);
    },
    close: () => session.close(),
  };
}

async function readAll(body: Readable, path: string): Promise<void> {
  let bytes = 0;
  body.on('data', (piece: Buffer) => {
    bytes += piece.length;
  });
  await once(body, 'end');
  if (bytes !== (path === '/blob' ? blobSize : manifestSize)) throw new Error(`${bytes} bytes came`);
}

/** @returns how long each took, in milliseconds */
async function repeat(times: number, atOnce: number, act: () => Promise<void>): Promise<readonly number[]> {
  const took: number[] = [];
  let left = times;
  const worker = async () => {
    while (left-- > 0) {
      const before = performance.now();
      await act();
      took.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return took;
}

function hasCurl(): boolean {
  const { stdout } = spawnSync('curl', ['--version'], { encoding: 'utf8' });
  return stdout?.includes('HTTP2') ?? false;
}

async function runCurl(version: Version, port: number): Promise<readonly number[]> {
  const targets = Array.from({ length: blobs }, () => ['-o', '/dev/null', `https://127.0.0.1:${port}/blob`]);
  const how = version === 'HTTP/1.1' ? '--http1.1' : '--http2';
  const common = [
    '-sSk',
    '--no-progress-meter',
    '--fail',
    '--parallel',
    how,
    '-H',
    `authorization: ${authorization}`,
  ];
  const curl = spawn('curl', [...common, ...targets.flat()], { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = await once(curl, 'close');
  if (code !== 0) throw new Error(`curl ended with ${code}`);
  return [];
}
