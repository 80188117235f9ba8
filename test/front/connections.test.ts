import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import {
  type BlobContent,
  generatedBlob,
  type MemoryRegistry,
  startMemoryRegistry,
} from '../../src/testing/index.js';
import { basic, type Front, passwords, send, startFront } from '../harness/index.js';

const size = 20 * 1024 * 1024;

async function start(
  t: TestContext,
  settings = '',
): Promise<{ front: Front; registry: MemoryRegistry; blob: BlobContent; path: string }> {
  const registry = await startMemoryRegistry();
  t.after(() => registry.close());
  const blob = await generatedBlob(size);
  registry.putBlob('app', blob);
  const front = await startFront(
    t,
    `
upstreams: { one: { url: "${registry.url}", connections: 500 } }
routes: [{ prefix: "", upstream: one }]
${settings}`,
  );
  return { front, registry, blob, path: `/v2/app/blobs/${blob.digest}` };
}

/** A client that reads when it is told to. */
class SlowClient {
  readonly #socket: Socket;
  readonly #settled: Promise<void>;
  bytes = 0;
  head = '';
  #headSeen = false;

  constructor(port: number, path: string) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.#settled = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.on('error', () => undefined);
    const authorization = basic('alice', passwords.alice);
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: docker.test\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`,
    );
    this.#socket.on('data', (piece: Buffer) => this.#take(piece));
  }

  #take(piece: Buffer): void {
    if (this.#headSeen) {
      this.bytes += piece.length;
      return;
    }
    const end = piece.indexOf('\r\n\r\n');
    this.head += piece.subarray(0, end < 0 ? piece.length : end).toString('latin1');
    if (end < 0) return;
    this.#headSeen = true;
    this.bytes += piece.length - end - 4;
    this.#socket.emit('head');
  }

  async started(): Promise<this> {
    if (!this.#headSeen) await new Promise((resolve) => this.#socket.once('head', resolve));
    return this;
  }

  pause(): void {
    this.#socket.pause();
  }

  async readToEnd(): Promise<number> {
    this.#socket.resume();
    await this.#settled;
    return this.bytes;
  }

  leave(): void {
    this.#socket.destroy();
  }
}

describe('connections', () => {
  test('a client that leaves in the middle releases the connection to the upstream', async (t) => {
    const { front, registry, path } = await start(t);
    const client = await new SlowClient(front.port, path).started();
    client.pause();
    client.leave();
    const request = await registry.waitFor((one) => one.path === path);
    await request.settled;
    assert.equal(request.closedEarly, true);
    assert.ok(request.sentBytes < size, 'request.sentBytes < size');
    const line = await front.logLine((one) => one.event === 'access' && one.operation === 'blob');
    assert.equal(line.reason, 'the client went away');
    assert.ok(Number(line.bytes) < size, 'Number(line.bytes) < size');
  });

  test('a client that leaves before the answer releases the connection too', async (t) => {
    const { front, registry, path } = await start(t);
    registry.faults.add({ path: '/blobs/' }, { delay: 60_000 });
    const leaving = new AbortController();
    const headers = { authorization: basic('alice', passwords.alice) };
    const gone = send(front.port, path, { signal: leaving.signal, headers }).catch(() => undefined);
    const request = await registry.waitFor((one) => one.path === path);
    leaving.abort();
    await gone;
    await request.settled;
    assert.equal(request.closedEarly, true);
    const line = await front.logLine((one) => one.event === 'access' && one.operation === 'blob');
    assert.equal(line.status, 499);
    assert.equal(line.level, 'info');
  });

  test('200 slow clients at once: everyone gets every byte, and nothing piles up in memory', async (t) => {
    const { front, path } = await start(t);
    const authorization = basic('alice', passwords.alice);
    assert.equal((await send(front.port, '/v2/', { headers: { authorization } })).status, 200);
    const clients = Array.from({ length: 200 }, () => new SlowClient(front.port, path));
    await Promise.all(clients.map((client) => client.started()));
    for (const client of clients) client.pause();
    await new Promise((resolve) => setTimeout(resolve, 500)); // what flows without being asked for comes now
    const held = process.memoryUsage().arrayBuffers;
    const readAtOnce = 20;
    for (let i = 0; i < clients.length; i += readAtOnce) {
      const some = clients.slice(i, i + readAtOnce);
      const bytes = await Promise.all(some.map((client) => client.readToEnd()));
      assert.deepEqual(
        bytes,
        some.map(() => size),
      );
    }
    for (const { head } of clients) assert.match(head, /^HTTP\/1\.1 200 /);
    // 200 blobs are 4000 MiB; buffers of both sides of both connections are in this process.
    assert.ok(held < 400 * 1024 * 1024, `${held} bytes are held`);
  });

  test('stop lets a transfer finish, and takes no new connection', async (t) => {
    const { front, path } = await start(t, 'drainTimeout: 30s');
    const client = await new SlowClient(front.port, path).started();
    client.pause();
    const stopping = front.stop();
    await assert.rejects(send(front.port, '/v2/'), { code: 'ECONNREFUSED' });
    assert.equal(await client.readToEnd(), size);
    await stopping;
    assert.equal(
      front.logLines().some((line) => line.message === 'requests cut: they did not finish in drainTimeout'),
      false,
    );
  });

  test('stop cuts what does not finish in time, and says so', async (t) => {
    const { front, registry, path } = await start(t, 'drainTimeout: 300ms');
    const client = await new SlowClient(front.port, path).started();
    client.pause();
    await front.stop();
    assert.ok((await client.readToEnd()) < size, 'the client sees a transfer that is not whole');
    const request = registry.requests.find((one) => one.path === path) ?? assert.fail();
    await request.settled;
    assert.equal(request.closedEarly, true);
    assert.ok(
      front.logLines().some((line) => line.requests === 1 && line.level === 'warn'),
      "front.logLines().some((line) => line.requests === 1 && line.level === 'warn')",
    );
  });

  test('stop closes connections that only wait', async (t) => {
    const { front } = await start(t, 'drainTimeout: 30s');
    const idle = connect(front.port, '127.0.0.1');
    const used = connect(front.port, '127.0.0.1');
    const closed = [idle, used].map(
      (socket) => new Promise((resolve) => socket.on('error', () => undefined).once('close', resolve)),
    );
    used.write('GET /v2/ HTTP/1.1\r\nHost: docker.test\r\n\r\n');
    await new Promise((resolve) => used.once('data', resolve));
    await front.stop();
    await Promise.all(closed);
  });

  test('stop while a transfer goes on: a connection that was kept alive is closed after its next answer', async (t) => {
    const { front, path } = await start(t, 'drainTimeout: 30s');
    const client = await new SlowClient(front.port, path).started();
    client.pause();
    const slow = connect(front.port, '127.0.0.1');
    slow.write('GET /v2/ HTTP/1.1\r\nHost: docker.test\r\n'); // not yet whole
    await new Promise((resolve) => slow.once('connect', resolve));
    await send(front.port, '/v2/'); // so that the server has seen the other one
    const stopping = front.stop();
    let text = '';
    slow.on('data', (piece: Buffer) => {
      text += piece.toString('latin1');
    });
    const closed = new Promise((resolve) => slow.on('error', () => undefined).once('close', resolve));
    slow.write('\r\n');
    await closed;
    assert.match(text, /^HTTP\/1\.1 401 .*connection: close/is);
    assert.equal(await client.readToEnd(), size);
    await stopping;
  });
});

describe('requests pipelined on one connection', () => {
  const pipelined = (path: string, times: number) =>
    `GET ${path} HTTP/1.1\r\nHost: docker.test\r\nAuthorization: ${basic('alice', passwords.alice)}\r\n\r\n`.repeat(
      times,
    );

  test('hold one transfer of the upstream, and none once the client is gone', async (t) => {
    const { front, registry, path } = await start(t);
    const socket = connect({ port: front.port, host: '127.0.0.1' });
    socket.write(pipelined(path, 8));
    await registry.waitFor((request) => request.path.includes('/blobs/'));
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    const blobs = () => registry.requests.filter((request) => request.path.includes('/blobs/'));
    assert.equal(blobs().length, 1, 'the others wait for their turn');
    socket.destroy();
    await registry.waitFor((request) => request.path.includes('/blobs/') && request.closedEarly);
    assert.equal(blobs().length, 1, 'nothing is fetched for a client that has gone');
    const { status } = await front.sendAs('alice', path, { method: 'HEAD' });
    assert.equal(status, 200);
  });

  test('do not keep the proxy from stopping', async (t) => {
    const { front, registry, path } = await start(t, 'drainTimeout: 60s');
    const socket = connect({ port: front.port, host: '127.0.0.1' });
    socket.write(pipelined(path, 3));
    await registry.waitFor((request) => request.path.includes('/blobs/'));
    socket.destroy();
    await registry.waitFor((request) => request.path.includes('/blobs/') && request.closedEarly);
    await front.stop(); // the runner's own limit is under drainTimeout
  });

  test('are answered in their order', async (t) => {
    const { front } = await start(t);
    const socket = connect({ port: front.port, host: '127.0.0.1' });
    t.after(() => socket.destroy());
    let text = '';
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1');
    });
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: docker.test\r\n\r\n`;
    socket.end(get('/v2/') + get('/token/jwks.json') + get('/nothing'));
    await new Promise((resolve) => socket.once('close', resolve));
    assert.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 401', 'HTTP/1.1 200', 'HTTP/1.1 404']);
  });
});
