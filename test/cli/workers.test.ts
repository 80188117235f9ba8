import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startMemoryRegistry } from '../../src/testing/index.js';
import { freePort } from '../e2e/harness/free-port.js';
import { basic, bearer, htpasswd, overwrite, passwords, send, until } from '../harness/index.js';
import { Serving, takenPort } from './serving.js';
import { openHouse, slowVerifier } from './serving-house.js';

// Several processes that serve as one.

const mediaType = 'application/vnd.oci.image.manifest.v1+json';
const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers: [] }));

type Line = Readonly<Record<string, unknown>>;

async function start(t: TestContext, settings: Readonly<Record<string, string>> = {}, workers = 3) {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  registry.putManifest('team/app', '1', manifest, mediaType);
  const house = await openHouse(t);
  const all = {
    workers: String(workers),
    upstreams: `{ one: { url: "${registry.url}" } }`,
    token: '{ keys: { directory: keys }, refreshTokens: true }',
    ...settings,
  };
  const serving = new Serving(t, house.write(all));
  const { front, admin } = await serving.ports();
  const login = (password: string, query = '') =>
    send(front, `/token${query}`, { headers: { authorization: basic('alice', password) } });
  const tokenFor = async (scope: string) => {
    const answer = await login(passwords.alice, `?service=docker.test&scope=${scope}`);
    return (JSON.parse(answer.text) as { token: string }).token;
  };
  const metric = async (name: string) => {
    const { text } = await send(admin, '/metrics');
    const line = text.split('\n').find((one) => one.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  };
  /** By worker: the process that serves in its place now. */
  const pids = () => {
    const lines = serving.lines().filter(({ message }) => message === 'a worker serves');
    return new Map(lines.map(({ worker, pid }) => [Number(worker), Number(pid)]));
  };
  const rewrite = (more: Readonly<Record<string, string>>) => house.write({ ...all, ...more });
  const stop = async () => {
    serving.signal('SIGTERM');
    assert.equal(await serving.end(), 0, serving.stderr);
    for (const pid of pids().values()) assert.ok(!isAlive(pid), `worker ${pid} is left`);
  };
  return { registry, house, serving, front, admin, login, tokenFor, metric, pids, rewrite, stop };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function byWorker(lines: readonly Line[]): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const { worker } of lines) counts.set(Number(worker), (counts.get(Number(worker)) ?? 0) + 1);
  return counts;
}

const pull = (front: number, token: string) =>
  send(front, '/v2/team/app/manifests/1', { headers: { authorization: bearer(token) } });

describe('workers', () => {
  test('share connections evenly, keys, state and what operators see', async (t) => {
    const { serving, front, admin, tokenFor, login, metric, stop } = await start(t, {
      state: '{ type: file, path: state }',
    });
    const start_ = await serving.line(({ event }) => event === 'start');
    assert.equal(start_.workers, 3);
    const token = await tokenFor('repository:team/app:pull');
    for (let i = 0; i < 30; i++) assert.equal((await pull(front, token)).status, 200);
    const accesses = () => serving.lines().filter(({ event }) => event === 'access');
    await until('all are logged', () => accesses().length === 30);
    assert.deepEqual([...byWorker(accesses()).entries()].sort(), [
      [1, 10],
      [2, 10],
      [3, 10],
    ]);
    const counted =
      'registry_proxy_requests_total{operation="manifest",method="GET",status="200",upstream="one"}';
    assert.equal(await metric(counted), 30);
    assert.equal(await metric('registry_proxy_workers_serving'), 3);
    assert.equal(await metric('registry_proxy_configuration_last_reload_success'), 1);
    assert.equal((await send(admin, '/readyz')).status, 200);

    const answer = await login(passwords.alice, '?offline_token=true&client_id=docker&service=docker.test');
    const { refresh_token } = JSON.parse(answer.text) as { refresh_token: string };
    const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token, service: 'docker.test' });
    const statuses = [];
    for (let i = 0; i < 6; i++) {
      statuses.push((await send(front, '/token', { method: 'POST', body: body.toString() })).status);
    }
    assert.deepEqual(statuses, [200, 200, 200, 200, 200, 200]);
    await stop();
  });

  test('know of each other’s wrong passwords', async (t) => {
    const { serving, login, stop } = await start(t);
    for (let i = 0; i < 10; i++) assert.equal((await login(`wrong ${i}`)).status, 401);
    const tokens = () => serving.lines().filter(({ event }) => event === 'token');
    await until('all are logged', () => tokens().length === 10);
    assert.equal(byWorker(tokens()).size, 3, 'one worker had all');
    const beyond = [];
    for (let i = 0; i < 6; i++) beyond.push((await login(`wrong again ${i}`)).status);
    assert.deepEqual(beyond, [429, 429, 429, 429, 429, 429]);
    await stop();
  });

  test('one that is killed is replaced, and counts on', async (t) => {
    const { serving, front, tokenFor, metric, pids, stop } = await start(t);
    const token = await tokenFor('repository:team/app:pull');
    for (let i = 0; i < 9; i++) assert.equal((await pull(front, token)).status, 200);
    const counted =
      'registry_proxy_requests_total{operation="manifest",method="GET",status="200",upstream="one"}';
    assert.equal(await metric(counted), 9);
    const killed = pids().get(2) ?? 0;
    process.kill(killed, 'SIGKILL');
    const ended = await serving.line(({ message }) => String(message).startsWith('a worker ended'));
    assert.equal(ended.worker, 2);
    assert.equal(ended.signal, 'SIGKILL');
    // Whoever asks meanwhile is served by the others.
    for (let i = 0; i < 6; i++) assert.equal((await pull(front, token)).status, 200);
    await until('another one serves in its place', () => pids().get(2) !== killed);
    for (let i = 0; i < 6; i++) assert.equal((await pull(front, token)).status, 200);
    assert.equal(await metric(counted), 21);
    assert.equal(await metric('registry_proxy_worker_ends_total'), 1);
    assert.equal(await metric('registry_proxy_workers_serving'), 3);
    await stop();
  });

  test('take a changed configuration over together, and a bad one none of them', async (t) => {
    const { serving, login, house, metric, rewrite, stop } = await start(t, {
      audit: '{ file: audit.jsonl }',
    });
    overwrite(join(house.directory, 'users.htpasswd'), await htpasswd({ alice: 'another' }));
    serving.signal('SIGHUP');
    const reloaded = await serving.line(({ message }) => message === 'configuration reloaded');
    assert.deepEqual(reloaded.changed, ['verifiers[0].file']);
    for (let i = 0; i < 6; i++) assert.equal((await login('another')).status, 200);
    rewrite({ policy: '[{ nonsense: 1 }]' });
    await serving.line(({ message }) => String(message).startsWith('the configuration was not reloaded'));
    assert.equal(await metric('registry_proxy_configuration_last_reload_success'), 0);
    for (let i = 0; i < 3; i++) assert.equal((await login('another')).status, 200);
    rewrite({ workers: '2', state: '{ type: file, path: state }', drainTimeout: '3s' });
    const later = await serving.line(({ settings }) => settings !== undefined);
    assert.deepEqual(later.settings, ['workers', 'state']);
    await stop();
    const audited = readFileSync(join(house.directory, 'audit.jsonl'), 'utf8').split('\n').slice(0, -1);
    assert.equal(audited.length, 9);
    for (const line of audited) JSON.parse(line);
  });

  test('race for one blob with one cache directory, and none serves other bytes', async (t) => {
    const { registry, house, front, tokenFor, rewrite, serving, stop } = await start(t);
    const cache = '{ path: cache, maxSize: 100MB }';
    rewrite({ upstreams: `{ one: { url: "${registry.url}", cache: ${cache} } }` });
    await serving.line(({ message }) => message === 'configuration reloaded');
    const token = await tokenFor('repository:team/app:pull');
    const headers = { authorization: bearer(token) };
    const bytes = randomBytes(3_000_000);
    const { digest } = registry.putBlob('team/app', bytes);
    const get = () => send(front, `/v2/team/app/blobs/${digest}`, { headers });
    for (const answer of await Promise.all(Array.from({ length: 24 }, get))) {
      assert.ok(
        answer.status === 200 && answer.whole && answer.body.equals(bytes),
        `${answer.status}: other bytes`,
      );
    }
    const asked = () =>
      registry.requests.filter(({ method, path }) => method === 'GET' && path.includes(digest));
    assert.ok(asked().length <= 3, `${asked().length} downloads by 3 workers`);
    const before = asked().length;
    for (let i = 0; i < 6; i++) assert.ok((await get()).body.equals(bytes), 'other bytes');
    assert.equal(asked().length, before, 'it was fetched again');
    assert.deepEqual(readdirSync(join(house.directory, 'cache/incoming')), []);
    await stop();
  });

  test('let transfers finish when they are told to stop', async (t) => {
    const { registry, serving, front, admin, tokenFor, stop } = await start(t, { drainTimeout: '30s' }, 2);
    const bytes = Buffer.alloc(300_000, 'x');
    const { digest } = registry.putBlob('team/app', bytes);
    registry.faults.add({ path: '/blobs/' }, { delay: 1_500 });
    const token = await tokenFor('repository:team/app:pull');
    const headers = { authorization: bearer(token) };
    const slow = [1, 2].map(() => send(front, `/v2/team/app/blobs/${digest}`, { headers }));
    await registry.waitFor(({ path }) => path.includes('/blobs/'));
    const stopped = stop();
    await serving.line(({ event }) => event === 'stop');
    assert.equal((await send(admin, '/readyz').catch(() => undefined))?.status ?? 503, 503);
    for (const answer of await Promise.all(slow)) assert.ok(answer.whole && answer.body.equals(bytes), 'cut');
    await stopped;
  });

  test('end with the process that has started them', async (t) => {
    const { serving, pids } = await start(t, {}, 2);
    process.kill(serving.pid, 'SIGKILL');
    await serving.end();
    await until('they have ended', () => [...pids().values()].every((pid) => !isAlive(pid)));
  });

  test('a port that is taken ends all: exit code 2 and one line', async (t) => {
    const house = await openHouse(t);
    const settings = { workers: '2', token: '{ keys: { directory: keys } }' };
    const listen = `"127.0.0.1:${await takenPort(t)}"`;
    const serving = new Serving(t, house.write({ ...settings, listen }));
    assert.equal(await serving.end(), 2);
    assert.match(serving.stderr, /: cannot listen on 127\.0\.0\.1:\d+: another program uses this port/);
    assert.equal(serving.stderr.trim().split('\n').length, 1, serving.stderr);
  });

  test('a stop that comes while the first begins ends it before it listens', async (t) => {
    const house = await openHouse(t);
    const port = await freePort();
    writeFileSync(join(house.directory, 'slow.mjs'), slowVerifier);
    const serving = new Serving(
      t,
      house.write({
        workers: '2',
        token: '{ keys: { directory: keys } }',
        listen: `127.0.0.1:${port}`,
        verifiers: '[{ id: local, module: ./slow.mjs }]',
      }),
    );
    const opened = serving.everOpened(port);
    await until('it opens the verifier', () => existsSync(join(house.directory, 'opening')));
    serving.signal('SIGTERM');
    await sleep(500); // a signal takes its time on a busy machine
    writeFileSync(join(house.directory, 'open'), '');
    assert.equal(await serving.end(), 0, serving.stderr);
    assert.equal(await opened, false);
    assert.ok(existsSync(join(house.directory, 'closed')), 'what was opened is closed');
  });

  test('need keys that all of them know', async (t) => {
    const house = await openHouse(t);
    const serving = new Serving(t, house.write({ workers: '2' }));
    assert.equal(await serving.end(), 2);
    assert.match(serving.stderr, /proxy\.yaml:\d+:\d+: workers: more than one need `token\.keys`/);
  });
});
