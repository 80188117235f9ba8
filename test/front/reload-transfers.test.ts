import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { describe, type TestContext, test } from 'node:test';
import { digestOf } from '../../src/reference/digest.js';
import { generatedBlob, startMemoryRegistry } from '../../src/testing/index.js';
import {
  basic,
  type Front,
  overwrite,
  passwords,
  settingsFor,
  settled,
  startFront,
  takeOver,
  until,
} from '../harness/index.js';

// A transfer that is under way when the configuration changes ends with the parts it began with.

/** More than all buffers between an upstream and a client that does not read. */
const size = 24 * 1024 * 1024;

/** A way to a server that knows how many connections are open. */
async function startCountingWay(t: TestContext, url: string) {
  let open = 0;
  const server = createServer((client) => {
    open++;
    const remote = connect(Number(new URL(url).port), '127.0.0.1');
    client.pipe(remote).pipe(client);
    for (const socket of [client, remote]) {
      socket.on('error', () => undefined);
      socket.once('close', () => {
        client.destroy();
        remote.destroy();
      });
    }
    client.once('close', () => open--);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, open: () => open };
}

async function start(t: TestContext) {
  const [registry, other] = [await startMemoryRegistry(), await startMemoryRegistry()];
  t.after(() => registry.close());
  t.after(() => other.close());
  const blob = await generatedBlob(size);
  registry.putBlob('team/app', blob);
  const way = await startCountingWay(t, registry.url);
  const settings = settingsFor(way.url, { audit: '{ file: audit.jsonl }' });
  const front = await startFront(t, settings);
  return { registry, other, blob, way, front, settings };
}

/** Begins a download, and reads none of it before it is told to. */
async function beginDownload(front: Front, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { host: 'docker.test', authorization: basic('alice', passwords.alice) };
    httpRequest({ host: '127.0.0.1', port: front.port, path, agent: false, headers }, resolve)
      .on('error', reject)
      .end();
  });
}

/** @returns the digest of all that came */
async function finish(answer: IncomingMessage): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of answer) hash.update(piece as Buffer);
  return `sha256:${hash.digest('hex')}`;
}

/** What a transfer can lose. */
const losses: readonly (readonly [string, (otherUrl: string) => Readonly<Record<string, string>>])[] = [
  [
    'its upstream and its route are removed',
    (url) => ({ upstreams: `{ two: { url: "${url}" } }`, routes: '[{ prefix: x/, upstream: two }]' }),
  ],
  ['its upstream is another registry', (url) => ({ upstreams: `{ one: { url: "${url}" } }` })],
  [
    'its verifier is removed',
    () => ({
      verifiers: '[{ id: anyone, type: anonymous }]',
      policy: '[{ names: ["anyone:*"], repositories: ["**"], actions: [pull] }]',
    }),
  ],
  ['nothing is allowed any more', () => ({ policy: '[]' })],
];

for (const [loss, change] of losses) {
  describe(`when ${loss}`, () => {
    test('a download goes on to its end, and then the earlier parts are closed', async (t) => {
      const { front, blob, way, other, registry } = await start(t);
      const parts = front.proxy.openParts;
      const path = `/v2/team/app/blobs/${blob.digest}`;
      const answer = await beginDownload(front, path);
      assert.equal(answer.statusCode, 200);
      const settings = { audit: '{ file: audit.jsonl }', ...change(other.url) };
      await takeOver(front, settingsFor(way.url, settings));
      assert.equal(await front.metric('registry_proxy_configurations_in_use'), 2);
      assert.notEqual((await front.sendAs('alice', path)).status, 200, 'a new request has the new parts');
      assert.ok(
        !registry.requests.some((request) => request.finished && request.path === path),
        'it is under way',
      );
      assert.equal(await finish(answer), blob.digest);
      await settled(front);
      if ('upstreams' in settings) await until('its connections are closed', () => way.open() === 0);
      assert.ok(front.proxy.openParts <= parts, `${front.proxy.openParts} parts are open, ${parts} before`);
    });

    test('an upload goes on to its end, and is there', async (t) => {
      const { front, registry, other, way } = await start(t);
      const bytes = Buffer.alloc(2 * 1024 * 1024, 'pushed');
      const digest = digestOf(bytes);
      const opened = await front.sendAs('alice', '/v2/team/app/blobs/uploads/', { method: 'POST' });
      assert.equal(opened.status, 202, opened.text);
      const body = new PassThrough();
      const location = new URL(opened.headers.location ?? '', 'http://docker.test');
      location.searchParams.set('digest', digest);
      const headers = { 'content-length': String(bytes.length), 'content-type': 'application/octet-stream' };
      const put = front.sendAs('alice', location.pathname + location.search, {
        method: 'PUT',
        headers,
        body,
      });
      body.write(bytes.subarray(0, 1000));
      await registry.waitFor(({ method }) => method === 'PUT');
      await takeOver(front, settingsFor(way.url, { audit: '{ file: audit.jsonl }', ...change(other.url) }));
      assert.equal(await front.metric('registry_proxy_configurations_in_use'), 2);
      body.end(bytes.subarray(1000));
      const answer = await put;
      assert.equal(answer.status, 201, answer.text);
      assert.equal(registry.store.blob('team/app', digest)?.size, bytes.length);
      await settled(front);
    });
  });
}

test('earlier configurations that several transfers need are closed one by one', async (t) => {
  const { front, blob, way, settings } = await start(t);
  const path = `/v2/team/app/blobs/${blob.digest}`;
  const parts = front.proxy.openParts;
  const downloads: IncomingMessage[] = [];
  for (let i = 0; i < 3; i++) {
    downloads.push(await beginDownload(front, path));
    // Each has an upstream of its own: its limit of connections is another one.
    const upstreams = `{ one: { url: "${way.url}", connections: ${10 + i} } }`;
    await takeOver(front, settingsFor(way.url, { audit: '{ file: audit.jsonl }', upstreams }));
  }
  const inUse = () => front.metric('registry_proxy_configurations_in_use');
  assert.equal(await inUse(), 4);
  for (const [i, download] of downloads.reverse().entries()) {
    assert.equal(await finish(download), blob.digest);
    await until('one less is in use', async () => (await inUse()) === 3 - i);
  }
  await takeOver(front, settings);
  await settled(front);
  assert.equal(front.proxy.openParts, parts);
});

test('a transfer of an earlier configuration is audited, although the audit log is off by then', async (t) => {
  const { front, blob, way } = await start(t);
  const answer = await beginDownload(front, `/v2/team/app/blobs/${blob.digest}`);
  await takeOver(front, settingsFor(way.url));
  await finish(answer);
  await settled(front);
  const line = readFileSync(join(front.directory, 'audit.jsonl'), 'utf8');
  assert.match(line, new RegExp(String(answer.headers['x-request-id'])));
});

test('an upload that a reload comes between goes on where its keys and its route are the same', async (t) => {
  const { front, registry, way } = await start(t);
  const opened = await front.sendAs('alice', '/v2/team/app/blobs/uploads/', { method: 'POST' });
  const upstreams = `{ one: { url: "${way.url}", connections: 10 } }`;
  await takeOver(front, settingsFor(way.url, { audit: '{ file: audit.jsonl }', upstreams }));
  const bytes = Buffer.from('pushed in two requests');
  const digest = digestOf(bytes);
  const location = new URL(opened.headers.location ?? '', 'http://docker.test');
  location.searchParams.set('digest', digest);
  const answer = await front.sendAs('alice', location.pathname + location.search, {
    method: 'PUT',
    body: bytes,
  });
  assert.equal(answer.status, 201, answer.text);
  assert.equal(registry.store.blob('team/app', digest)?.size, bytes.length);
});

test('users that are replaced while a login is verified do not break it', async (t) => {
  const { front } = await start(t);
  const logins = Array.from({ length: 10 }, () => front.sendAs('bob', '/token'));
  overwrite(join(front.directory, 'users.htpasswd'), '');
  await takeOver(front);
  for (const { status } of await Promise.all(logins)) assert.ok([200, 401].includes(status), String(status));
  assert.equal((await front.sendAs('bob', '/token')).status, 401);
});
