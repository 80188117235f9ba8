import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { renameSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf } from '../../src/reference/digest.js';
import {
  generatedBlob,
  type MemoryRegistry,
  startMemoryRegistry,
  tinyImageFor,
} from '../../src/testing/index.js';
import { basic, bearer, htpasswd, sharedScope } from '../harness/index.js';
import { openFiles } from './harness/open-files.js';
import { proxyAddress, type RunningProxy, startProxy } from './harness/proxy.js';
import { waitFor } from './harness/wait-for.js';
import { openWorkspace, type Workspace } from './harness/workspace.js';

// Reloads by the hundred while clients are at work: nobody notices, and nothing piles up.

const reloads = 1_000;
/** Reloads before the first measurement: by then everything was loaded and compiled. */
const warmUp = 200;
/** Bytes that what is held in memory may grow from one measurement to the other: some KiB a reload. */
const growth = 8 * 1024 * 1024;
const collector = new URL('./harness/collect-garbage.mjs', import.meta.url).href;

const password = 'w0nder:land';
const blobSize = 3 * 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A client with connections of its own that it keeps. */
class Client {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #origin: string;

  constructor(origin: string) {
    this.#origin = origin;
  }

  send(path: string, method = 'GET', headers: Record<string, string> = {}, body?: Buffer): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const url = new URL(path, this.#origin);
      const request = httpRequest(url, { method, headers, agent: this.#agent }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.once('error', reject);
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(pieces),
          }),
        );
      });
      request.setTimeout(30_000, () => request.destroy(new Error('nothing came for 30 s')));
      request.once('error', reject);
      request.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

type Job = (client: Client) => Promise<unknown>;

/** Clients that work, each on its own job, until they are told to stop. */
class Load {
  readonly failures: string[] = [];
  done = 0;
  #isOver = false;
  readonly #clients: Promise<void>[] = [];

  constructor(origin: string, jobs: readonly Job[]) {
    for (const job of jobs) this.#clients.push(this.#work(new Client(origin), job));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#clients);
  }

  async #work(client: Client, job: Job): Promise<void> {
    while (!this.#isOver) {
      try {
        await job(client);
        this.done++;
      } catch (error) {
        this.failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    client.close();
  }
}

function expect(what: string, { status, body }: Answer, wanted: number): void {
  if (status !== wanted) throw new Error(`${what}: ${status} ${body.toString('utf8', 0, 300)}`);
}

describe(`${reloads} reloads under load`, () => {
  const scope = sharedScope();
  const image = tinyImageFor('amd64', 'hello');
  let workspace: Workspace;
  let registry: MemoryRegistry;
  let proxy: RunningProxy;
  let admin: Client;
  let digest: string;

  before(async () => {
    workspace = await openWorkspace();
    scope.after(() => workspace.close());
    registry = await startMemoryRegistry();
    scope.after(() => registry.close());
    registry.putImage('team/app', '1', image);
    const blob = await generatedBlob(blobSize);
    digest = registry.putBlob('team/app', blob).digest;
    workspace.file('proxy/users.htpasswd', await htpasswd({ alice: password }));
    workspace.file('proxy/more.htpasswd', await htpasswd({ bob: password }));
    const env = { NODE_OPTIONS: `--import ${collector}` };
    proxy = await startProxy(workspace, await proxyAddress(), configurationOf(0), { env });
    admin = new Client(`http://${proxy.adminHost}`);
    scope.after(() => admin.close());
  });

  /** Three of them: each has something of the others, and something of its own. */
  function configurationOf(i: number): object {
    const kind = i % 3;
    const upstream = { url: registry.url, connections: kind === 1 ? 200 : 100 };
    const rules = [{ names: ['local:alice'], repositories: ['**'], actions: ['pull', 'push'] }];
    const more = [{ names: ['more:bob'], repositories: ['x/**'], actions: ['pull'] }];
    const verifiers = [{ id: 'local', type: 'htpasswd', file: 'users.htpasswd' }];
    return {
      upstreams: { one: upstream, ...(kind === 2 && { two: { url: registry.url } }) },
      routes: [{ prefix: '', upstream: 'one' }, ...(kind === 2 ? [{ prefix: 'two/', upstream: 'two' }] : [])],
      verifiers: [
        ...verifiers,
        ...(kind === 2 ? [{ id: 'more', type: 'htpasswd', file: 'more.htpasswd' }] : []),
      ],
      policy: kind === 2 ? [...rules, ...more] : rules,
      token: { ttl: kind === 1 ? '10m' : '5m', keys: { directory: 'keys' }, refreshTokens: true },
      state: { type: 'file', path: 'state' },
      trustedProxies: kind === 0 ? [] : ['192.0.2.0/24'],
      audit: { file: kind === 1 ? 'audit-1.jsonl' : 'audit-0.jsonl' },
      log: { level: 'info' },
    };
  }

  const metrics = async () => (await admin.send('/metrics')).body.toString('utf8');
  const valueIn = (text: string, name: string) => {
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    return Number(line?.slice(name.length + 1) ?? 0);
  };

  /** Replaces the configuration, sends SIGHUP and waits until it is taken. */
  async function reload(i: number): Promise<void> {
    const { host: listen, url: externalUrl, adminHost } = proxy;
    const settings = { listen, externalUrl, admin: { listen: adminHost }, ...configurationOf(i) };
    const file = workspace.file('proxy/next.yaml', JSON.stringify(settings));
    renameSync(file, workspace.path('proxy/proxy.yaml'));
    process.kill(proxy.pid(), 'SIGHUP');
    for (let tries = 0; tries < 3000; tries++) {
      const applied = valueIn(
        await metrics(),
        'registry_proxy_configuration_reloads_total{result="applied"}',
      );
      if (applied >= i) return;
      await sleep(10);
    }
    throw new Error(`reload ${i} was not taken:\n${proxy.output().slice(-5000)}`);
  }

  async function reloadUntil(from: number, to: number): Promise<void> {
    for (let i = from; i <= to; i++) await reload(i);
  }

  /** The least of some looks, each after all garbage was collected. @returns bytes */
  async function heldMemory(): Promise<number> {
    const found: number[] = [];
    for (let look = 0; look < 5; look++) {
      process.kill(proxy.pid(), 'SIGUSR2');
      await sleep(100);
      found.push(valueIn(await metrics(), 'nodejs_heap_size_used_bytes'));
    }
    return Math.min(...found);
  }

  const authorization = basic('alice', password);

  /** Those of docker, in short. */
  function jobs(): readonly Job[] {
    let pushes = 0;
    const tokenOf = async (client: Client, actions: string) => {
      const path = `/token?service=${proxy.host}&scope=repository:team/app:${actions}`;
      const answer = await client.send(path, 'GET', { authorization });
      expect('a token', answer, 200);
      return bearer((JSON.parse(answer.body.toString('utf8')) as { token: string }).token);
    };
    let token = '';
    const pullManifest: Job = async (client) => {
      token ||= await tokenOf(client, 'pull');
      const answer = await client.send('/v2/team/app/manifests/1', 'GET', { authorization: token });
      expect('a manifest', answer, 200);
      await sleep(10);
    };
    const pullBlob: Job = async (client) => {
      const answer = await client.send(`/v2/team/app/blobs/${digest}`, 'GET', { authorization });
      expect('a blob', answer, 200);
      const found = `sha256:${createHash('sha256').update(answer.body).digest('hex')}`;
      if (found !== digest) throw new Error(`a blob: ${answer.body.length} bytes that are not it`);
      await sleep(100);
    };
    const push: Job = async (client) => {
      const bytes = Buffer.alloc(512 * 1024, `push ${++pushes}`);
      const mayPush = { authorization: await tokenOf(client, 'pull,push') };
      const opened = await client.send('/v2/team/app/blobs/uploads/', 'POST', mayPush);
      expect('an upload', opened, 202);
      const location = new URL(opened.headers.location ?? '', proxy.url);
      location.searchParams.set('digest', digestOf(bytes));
      const put = await client.send(location.href, 'PUT', mayPush, bytes);
      expect('a push', put, 201);
      await sleep(100);
    };
    const login: Job = async (client) => {
      await tokenOf(client, 'pull');
      await sleep(50);
    };
    return [pullManifest, pullManifest, pullBlob, pullBlob, push, login];
  }

  interface Rest {
    readonly files: Readonly<Record<string, number>>;
    readonly handles: number;
  }

  /** What is open when nobody asks for anything: only what one configuration needs. */
  async function atRest(): Promise<Rest> {
    const isQuiet = await waitFor(async () => {
      const text = await metrics();
      return (
        valueIn(text, 'registry_proxy_configurations_in_use') === 1 &&
        valueIn(text, 'registry_proxy_connections{listener="front"}') === 0
      );
    }, 30_000);
    assert.ok(isQuiet, 'nothing works with an earlier configuration');
    return {
      files: openFiles(proxy.pid()),
      handles: valueIn(await metrics(), 'nodejs_active_handles_total'),
    };
  }

  test('no request fails, and nothing stays open', async () => {
    const load = new Load(proxy.url, jobs());
    await reloadUntil(1, warmUp);
    await load.stop();
    // Without clients: the upstream's pool is a new one then, and has no connection.
    await reloadUntil(warmUp + 1, warmUp + 3);
    const early = await atRest();
    const earlyHeap = await heldMemory();
    const again = new Load(proxy.url, jobs());
    await reloadUntil(warmUp + 4, reloads);
    await again.stop();
    await reloadUntil(reloads + 1, reloads + 2);
    assert.deepEqual([...load.failures, ...again.failures], []);
    assert.ok(again.done > reloads, `${again.done} requests only`);
    // Until it is the same one of the three again.
    for (let i = reloads + 3; (i - warmUp) % 3 !== 1; i++) await reload(i);
    const same = await waitFor(async () => JSON.stringify(await atRest()) === JSON.stringify(early), 30_000);
    assert.ok(same, `open: ${JSON.stringify(early)}, and then ${JSON.stringify(await atRest())}`);
    const lateHeap = await heldMemory();
    assert.equal(early.files['anon_inode:inotify'] ?? 0, 0);
    assert.ok(lateHeap - earlyHeap < growth, `the heap grew from ${earlyHeap} to ${lateHeap} bytes`);
    const loud = proxy
      .output()
      .split('\n')
      .filter((line) => line !== '' && !line.includes('"level":"info"'));
    assert.deepEqual(loud, [], 'warnings and errors');
  });
});
